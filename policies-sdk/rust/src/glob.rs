//! Patterns for names: of columns (`*.ssn`, `cards.number`, `public.cards.number`, `*`), and of relations
//! and functions (`orders`, `public.orders`, `pg_*`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use crate::ColumnName;

/// A pattern for columns: `column`, `relation.column` or `schema.relation.column`.
///
/// Parts that are left out match anything, and `*` inside a part matches any run of characters, so
/// `*` alone matches every column. A part in double quotes may contain dots: `*."a.b"`.
///
/// Letter case is ignored. PostgreSQL folds names that are not quoted to lower case and keeps the
/// others, so `*.cardNumber` has to find both `cardnumber` and `"cardNumber"`: a pattern that
/// protects should rather match one column too many. For the same reason a schema or relation that
/// the gateway does not know matches every pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnGlob {
    schema: String,
    relation: String,
    column: String,
}

/// A pattern for relations or functions: `name` or `schema.name`, with the rules of [`ColumnGlob`].
///
/// A schema that is left out matches any, and so does a name whose schema is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameGlob {
    schema: String,
    name: String,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobError {
    text: String,
    /// What it should have been.
    forms: &'static str,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no {}", self.text, self.forms)
    }
}

impl std::error::Error for GlobError {}

impl ColumnGlob {
    /// Whether the column matches.
    pub fn matches(&self, name: &ColumnName) -> bool {
        matches(&self.column, &name.column)
            && (name.relation.is_empty() || matches(&self.relation, &name.relation))
            && (name.schema.is_empty() || matches(&self.schema, &name.schema))
    }

    /// Whether every column matches.
    pub fn matches_everything(&self) -> bool {
        [&self.schema, &self.relation, &self.column].iter().all(|part| part.bytes().all(|b| b == b'*'))
    }
}

impl FromStr for ColumnGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let forms = "column pattern: write `column`, `relation.column` or `schema.relation.column`";
        let [schema, relation, column] = parts(text).ok_or_else(|| GlobError { text: text.to_owned(), forms })?;
        Ok(Self { schema, relation, column })
    }
}

impl NameGlob {
    /// Whether the name matches. `schema` is empty where it is not known.
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        matches(&self.name, name) && (schema.is_empty() || matches(&self.schema, schema))
    }
}

impl FromStr for NameGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let forms = "name pattern: write `name` or `schema.name`";
        let [schema, name] = parts(text).ok_or_else(|| GlobError { text: text.to_owned(), forms })?;
        Ok(Self { schema, name })
    }
}

impl fmt::Display for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema != "*" {
            write!(f, "{}.", self.schema)?;
        }
        f.write_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for NameGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ColumnGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The last `N` parts of a pattern; those that it leaves out match anything. None where there are more,
/// or where one is empty.
fn parts<const N: usize>(text: &str) -> Option<[String; N]> {
    let mut parts = [const { String::new() }; N];
    let mut written = split(text)?.into_iter().rev();
    for part in parts.iter_mut().rev() {
        *part = written.next().unwrap_or_else(|| "*".to_owned());
    }
    let whole = written.next().is_none() && parts.iter().all(|part| !part.is_empty());
    whole.then_some(parts)
}

/// The parts between dots, where dots inside double quotes do not count; none where a quote is
/// left open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => parts.last_mut()?.push(c),
        }
    }
    (!quoted).then_some(parts)
}

/// Whether `name` matches `pattern`, in time proportional to the product of their lengths at worst:
/// on a mismatch only the last star is tried again.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: &str, relation: &str, column: &str) -> ColumnName {
        ColumnName { schema: schema.into(), relation: relation.into(), column: column.into() }
    }

    #[test]
    fn parts_match_from_the_right() {
        let ssn = name("public", "people", "ssn");
        for pattern in ["ssn", "*.ssn", "people.ssn", "public.people.ssn", "*", "*.*", "p*.*e.s*n", "people.*", "*.SSN"]
        {
            assert!(pattern.parse::<ColumnGlob>().unwrap().matches(&ssn), "{pattern}");
        }
        for pattern in ["ss", "sn", "cards.ssn", "hr.people.ssn", "people.*.ssn", "*.ssn?"] {
            assert!(!pattern.parse::<ColumnGlob>().unwrap().matches(&ssn), "{pattern}");
        }
    }

    #[test]
    fn what_is_not_known_matches() {
        let glob: ColumnGlob = "public.people.ssn".parse().unwrap();
        assert!(glob.matches(&name("", "people", "ssn")));
        assert!(glob.matches(&name("", "", "ssn")));
        assert!(!glob.matches(&name("", "cards", "ssn")));
    }

    #[test]
    fn names_have_two_parts() {
        let matches = |glob: &str, schema, name| glob.parse::<NameGlob>().unwrap().matches(schema, name);
        assert!(matches("orders", "public", "Orders") && matches("public.ord*", "public", "orders"));
        assert!(matches("public.orders", "", "orders"), "a schema that is not known matches");
        assert!(!matches("public.orders", "hr", "orders") && !matches("orders", "public", "orders_2024"));
        for pattern in ["", "a.", "a.b.c", r#"a."b"#] {
            assert!(pattern.parse::<NameGlob>().is_err(), "{pattern}");
        }
        for pattern in ["orders", "public.orders"] {
            assert_eq!(pattern.parse::<NameGlob>().unwrap().to_string(), pattern);
        }
    }

    #[test]
    fn quotes_hold_dots() {
        let glob: ColumnGlob = r#"people."a.b""#.parse().unwrap();
        assert!(glob.matches(&name("public", "people", "a.b")));
    }

    #[test]
    fn only_stars_match_everything() {
        for (pattern, all) in [("*", true), ("*.*.*", true), ("**", true), ("a.*", false), ("*.a", false)] {
            assert_eq!(pattern.parse::<ColumnGlob>().unwrap().matches_everything(), all, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", ".", "a.", ".a", "a.b.c.d", r#""a"#] {
            assert!(pattern.parse::<ColumnGlob>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let glob: ColumnGlob = "*a*a*a*a*a*a*a*a*a*a*b".parse().unwrap();
        assert!(!glob.matches(&name("", "", &"a".repeat(5000))));
    }
}
