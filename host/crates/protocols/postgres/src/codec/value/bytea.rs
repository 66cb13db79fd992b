//! The two text forms of `bytea`: <https://www.postgresql.org/docs/current/datatype-binary.html>.

/// Appends the bytes that the text stands for; `None` where it is in neither form.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match text.strip_prefix(b"\\x") {
        Some(hex) => from_hex(hex, out),
        None => from_escapes(text, out),
    }
}

/// Appends the bytes in the form `\x6162`.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        super::push(out, format_args!("{byte:02x}"));
    }
}

fn from_hex(hex: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, odd) = hex.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    for &[high, low] in pairs {
        let high = char::from(high).to_digit(16)?;
        let low = char::from(low).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(())
}

fn from_escapes(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            out.push(b'\\');
            rest = after;
        } else {
            let (octal, after) = rest.split_at_checked(3)?;
            let mut value = 0;
            for &digit in octal {
                value = value * 8 + char::from(digit).to_digit(8)?;
            }
            out.push(u8::try_from(value).ok()?);
            rest = after;
        }
    }
    Some(())
}
