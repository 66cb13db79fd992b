//! The encodings in which text can be cut at a delimiter without knowing its characters.

/// Whether, in this encoding, a byte below 128 may be part of a longer character. Then a delimiter
/// cannot be told from a piece of a value: `PG_ENCODING_IS_CLIENT_ONLY` in
/// `src/include/mb/pg_wchar.h`. Names are compared as the server does, by their letters and digits.
pub(super) fn embeds_ascii(encoding: &str) -> bool {
    let name: String = encoding.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let harmless = ["utf8", "unicode", "sqlascii", "koi8", "koi8r", "koi8u", "alt", "win", "windows", "abc", "tcvn"];
    let families = ["latin", "iso8859", "win1", "win8", "windows1", "windows8", "euc", "tcvn", "vscii", "muleinternal"];
    !(harmless.contains(&name.as_str()) || families.iter().any(|family| name.starts_with(family)))
}
