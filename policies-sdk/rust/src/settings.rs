//! Reads a binding's settings so that every mistake is named: which field, and what is wrong.

use serde::de::DeserializeOwned;

/// Reads settings from a JSON object. Fields that nothing reads are refused at any depth, so that a
/// misspelt rule cannot be silently without effect.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let mut unread = None;
    let read = serde_ignored::deserialize(tracked, |path| {
        unread.get_or_insert_with(|| path.to_string());
    });
    let settings = read.map_err(|error| explain(&track.path().to_string(), &error))?;
    deserializer.end().map_err(|error| explain("", &error))?;
    match unread {
        None => Ok(settings),
        Some(field) => Err(format!("settings: there is no field `{field}`; remove it or correct its name")),
    }
}

/// serde_json ends its messages with a line and a column, which mean nothing to who wrote TOML.
fn explain(path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    if path.is_empty() || path == "." { format!("settings: {what}") } else { format!("settings: `{path}`: {what}") }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "limit")]
        _limit: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Settings {
        #[serde(default, rename = "rules")]
        _rules: Vec<Inner>,
    }

    #[test]
    fn an_unread_field_is_named_with_its_path() {
        let error = parse::<Settings>(r#"{"rules": [{"limit": 1}, {"limit": 2, "limt": 3}]}"#).unwrap_err();
        assert_eq!(error, "settings: there is no field `rules.1.limt`; remove it or correct its name");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_path() {
        let error = parse::<Settings>(r#"{"rules": [{"limit": "many"}]}"#).unwrap_err();
        assert_eq!(error, "settings: `rules[0].limit`: invalid type: string \"many\", expected u32");
    }

    #[test]
    fn a_refusal_by_serde_lists_what_there_is() {
        let error = parse::<crate::NoSettings>(r#"{"a": 1}"#).unwrap_err();
        assert_eq!(error, "settings: `a`: unknown field `a`, there are no fields");
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(parse::<crate::NoSettings>("[1]").is_err());
        assert!(parse::<crate::NoSettings>("{} {}").is_err());
    }
}
