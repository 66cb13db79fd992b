//! A search for secrets in everything that a gateway leaves behind: as they are, and in the forms in which they
//! travel and are written.

use std::{fs, path::Path};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};

/// Places to look in, each with what is there.
#[derive(Default)]
pub struct Search {
    places: Vec<(String, Vec<u8>)>,
}

impl Search {
    /// Adds what is at a place; one that was added before has more in it.
    pub fn add(&mut self, place: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        match self.places.iter_mut().find(|(name, _)| name == place) {
            Some((_, more)) => {
                more.push(b'\n');
                more.extend_from_slice(&content);
            }
            None => self.places.push((place.to_owned(), content)),
        }
    }

    /// Adds every file of a folder and of the folders in it, names included, as one place.
    pub fn add_folder(&mut self, place: &str, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let (kind, path) = (entry.file_type().expect("its type"), entry.path());
            self.add(place, path.to_string_lossy().into_owned());
            if kind.is_dir() {
                self.add_folder(place, &path);
            } else if kind.is_file() {
                self.add(place, fs::read(&path).expect("a file of the test's own"));
            }
        }
    }

    /// The names of the places.
    pub fn places(&self) -> Vec<&str> {
        self.places.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Where a text is found in any form: the place, the form, and what stands around it.
    pub fn find(&self, text: &str, users: &[&str]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (form, needle) in forms(text, users) {
            for (place, content) in &self.places {
                if let Some(at) = position(content, needle.as_bytes()) {
                    let around = &content[at.saturating_sub(120)..content.len().min(at + needle.len() + 40)];
                    found.push((place.clone(), format!("{form}: {}", String::from_utf8_lossy(around))));
                }
            }
        }
        found
    }
}

/// A text as it is, as numbers, escaped, URL-encoded, in base64 and in hex, and in base64 after each user's name.
fn forms(text: &str, users: &[&str]) -> Vec<(String, String)> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url = encoded(text);
    let json = serde_json::Value::from(text).to_string();
    let mut forms = vec![
        ("as it is".to_owned(), text.to_owned()),
        ("in JSON".to_owned(), json.trim_matches('"').to_owned()),
        ("as a list of bytes".to_owned(), format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned()),
        ("in hex".to_owned(), hex.to_uppercase()),
        ("in hex".to_owned(), hex),
        ("in a URL".to_owned(), url.replace("%20", "+")),
        ("in a URL".to_owned(), url),
    ];
    let whole = std::iter::once(text.to_owned()).chain(users.iter().map(|user| format!("{user}:{text}")));
    for whole in whole {
        for (name, engine) in [("base64", &BASE64_STANDARD), ("base64 for URLs", &BASE64_URL_SAFE)] {
            forms.push((format!("in {name}"), engine.encode(&whole)));
        }
        for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
            forms.push(("in base64 without padding".to_owned(), engine.encode(&whole)));
        }
    }
    forms
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn position(content: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let starts = content.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(at, _)| at).find(|at| content[at + 1..].starts_with(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_every_form() {
        let secret = "p@ss \"word\"?";
        for planted in [
            secret,
            r#"{"x":"p@ss \"word\"?"}"#,
            "70407373202277 6f7264223f",
            "?q=p%40ss%20%22word%22%3F",
            "?q=p%40ss+%22word%22%3F",
            "Basic YWxpY2U6cEBzcyAid29yZCI/",
            "cEBzcyAid29yZCI/",
            "cEBzcyAid29yZCI_",
            "704073732022776F7264223F",
        ] {
            let mut search = Search::default();
            search.add("here", planted.replace("77 6f", "776f"));
            search.add("elsewhere", "nothing");
            let found = search.find(secret, &["alice"]);
            assert!(!found.is_empty() && found.iter().all(|(place, _)| place == "here"), "{planted}: {found:?}");
        }
        let mut search = Search::default();
        search.add("here", "p@ss word");
        assert!(search.find(secret, &["alice"]).is_empty());
    }
}
