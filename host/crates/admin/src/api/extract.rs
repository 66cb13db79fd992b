//! What requests bring, read strictly: parameters that nobody declared are refused like values out of
//! bounds, and every refusal is a problem.

use std::str::FromStr;

use axum::{
    Json,
    body::HttpBody as _,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{
        header::{CONTENT_TYPE, ORIGIN},
        request::Parts,
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

use super::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::problem::Problem;

/// The most characters of a name to filter by.
const MAX_FILTER_CHARS: usize = 256;
/// How an id is written: 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4).
const ID_CHARS: usize = 36;
/// Digits of a second's fraction that are looked at.
const FRACTION_DIGITS: usize = 9;

/// The query's parameters.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri).map_err(|error| Problem::bad_request(error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// No parameters at all.
pub(super) struct NoParams;

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Problem::bad_request("this takes no parameters: leave out what follows the `?`")),
        }
    }
}

/// The id in the path.
pub(super) struct Id<T>(pub(super) T);

impl<T: FromStr<Err: ToString>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
        parse_id(&text).map(Self)
    }
}

/// A JSON body, which may be left out.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // A foreign page could have a browser send an empty body with the credentials that it keeps, but no
        // JSON; then the browser names the page (Fetch, section 3.2).
        if request.body().is_end_stream() && !request.headers().contains_key(ORIGIN) {
            return Ok(Self(T::default()));
        }
        let Needed(body) = Needed::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// A JSON body that has to be there.
pub(super) struct Needed<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Needed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !request.headers().contains_key(CONTENT_TYPE) {
            return Err(Problem::bad_request("this takes a body of content-type `application/json`"));
        }
        let body = Json::from_request(request, state).await;
        let Json(body) = body.map_err(|error: JsonRejection| Problem::new(error.status(), error.body_text()))?;
        Ok(Self(body))
    }
}

pub(super) fn parse_id<T: FromStr<Err: ToString>>(text: &str) -> Result<T, Problem> {
    match text.parse() {
        Ok(id) if text.len() == ID_CHARS => Ok(id),
        Ok(_) => Err(Problem::bad_request("an id is written with hyphens, as listings show it")),
        Err(error) => Err(Problem::bad_request(error.to_string())),
    }
}

/// A whole number that is not negative, which JSON may also write as `60.0`.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let text = number.to_string();
    let whole = number.as_u64().or_else(|| text.strip_suffix(".0")?.parse().ok());
    whole.ok_or_else(|| D::Error::custom(format!("`{text}` is no whole number that is not negative")))
}

/// The `before` of a listing.
pub(super) fn before<T: FromStr<Err: ToString>>(text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(parse_id).transpose()
}

/// The `limit` of a listing.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    let refused = || Problem::bad_request(format!("`limit` is between 1 and {MAX_LIMIT}"));
    (1..=MAX_LIMIT).contains(&limit).then_some(limit).ok_or_else(refused)
}

/// A name to filter by.
pub(super) fn filter(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    match value {
        Some(value) if value.chars().count() > MAX_FILTER_CHARS => {
            Err(Problem::bad_request(format!("`{name}` has at most {MAX_FILTER_CHARS} characters")))
        }
        value => Ok(value),
    }
}

/// A time as RFC 3339 writes it, in milliseconds since the Unix epoch. A fraction beyond nanoseconds is cut.
pub(super) fn time(name: &str, value: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = value else { return Ok(None) };
    let refused = || Problem::bad_request(format!("`{name}` is a time such as 2026-01-31T08:00:00Z (RFC 3339)"));
    let time: jiff::Timestamp = without_excess(text).parse().map_err(|_| refused())?;
    Ok(Some(time.as_millisecond()))
}

fn without_excess(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, rest) = rest.split_at(digits);
    format!("{whole}.{}{rest}", fraction.get(..FRACTION_DIGITS).unwrap_or(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        let at = |text: &str| time("since", Some(text)).ok().flatten();
        assert_eq!(at("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(at("1970-01-01T01:00:00.25+01:00"), Some(250));
        assert_eq!(at("1970-01-01T00:00:00.123456789012345Z"), Some(123));
        assert_eq!(at("0000-01-01T00:00:00+23:59"), Some(-62_167_305_540_000));
        for refused in
            ["", "yesterday", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00.Z"]
        {
            assert_eq!(at(refused), None, "{refused}");
        }
    }
}
