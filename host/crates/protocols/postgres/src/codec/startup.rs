//! What a client says first: SSLRequest, GSSENCRequest, CancelRequest or StartupMessage.
//! Source: PostgreSQL manual, "Message Formats".

use bytes::{BufMut, Bytes, BytesMut};

/// The largest packet that may open a connection; PostgreSQL's own bound is 10000 bytes.
pub const MAX_STARTUP: usize = 10_000;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The first packet of a connection.
#[derive(Clone, PartialEq, Eq)]
pub enum Opening {
    /// The client asks for TLS.
    Ssl,
    /// The client asks for GSSAPI encryption.
    GssEnc,
    /// The client asks to cancel what another connection runs.
    Cancel {
        /// The process id that connection was told.
        pid: u32,
        /// The key it was told.
        key: Bytes,
    },
    /// The client starts a session.
    Startup {
        /// The minor version of protocol 3 that it speaks.
        minor: u16,
        /// Its parameters, in order.
        parameters: Vec<(String, String)>,
    },
}

/// Why an opening packet was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// Its length is out of bounds.
    #[error("the start-up packet's length is not allowed")]
    Length,
    /// It speaks another protocol.
    #[error("protocol version {0}.{1} is not supported; use version 3")]
    Version(u16, u16),
    /// It is malformed or not UTF-8.
    #[error("the start-up packet is malformed")]
    Malformed,
}

/// The length of the packet that starts `bytes`; none until four bytes are there.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, StartupError> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    match usize::try_from(u32::from_be_bytes(*length)) {
        Ok(length) if (8..=MAX_STARTUP).contains(&length) => Ok(Some(length)),
        _ => Err(StartupError::Length),
    }
}

/// Reads a whole packet, its length included.
pub fn parse(packet: &Bytes) -> Result<Opening, StartupError> {
    let code = packet.get(4..8).and_then(|c| c.try_into().ok()).map(u32::from_be_bytes);
    let body = packet.get(8..).ok_or(StartupError::Malformed)?;
    match code.ok_or(StartupError::Malformed)? {
        SSL_REQUEST if body.is_empty() => Ok(Opening::Ssl),
        GSSENC_REQUEST if body.is_empty() => Ok(Opening::GssEnc),
        CANCEL_REQUEST => {
            let (pid, key) = body.split_first_chunk::<4>().ok_or(StartupError::Malformed)?;
            if key.is_empty() || key.len() > 256 {
                return Err(StartupError::Malformed);
            }
            Ok(Opening::Cancel { pid: u32::from_be_bytes(*pid), key: packet.slice_ref(key) })
        }
        version => {
            let (major, minor) = ((version >> 16) as u16, (version & 0xffff) as u16);
            if major != 3 {
                return Err(StartupError::Version(major, minor));
            }
            Ok(Opening::Startup { minor, parameters: parameters(body)? })
        }
    }
}

fn parameters(body: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let text = std::str::from_utf8(body).map_err(|_| StartupError::Malformed)?;
    let text = text.strip_suffix('\0').ok_or(StartupError::Malformed)?;
    if !text.is_empty() && !text.ends_with('\0') {
        return Err(StartupError::Malformed);
    }
    let mut found = Vec::new();
    let mut words = text.split_terminator('\0');
    while let Some(name) = words.next() {
        let value = words.next().ok_or(StartupError::Malformed)?;
        if name.is_empty() || found.iter().any(|(known, _)| known == name) {
            return Err(StartupError::Malformed);
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}

/// NegotiateProtocolVersion: only 3.0 is spoken, and these `_pq_.` options are not known.
pub fn negotiate(unknown: &[&str], out: &mut BytesMut) {
    let size = 12 + unknown.iter().map(|o| o.len() + 1).sum::<usize>();
    out.put_u8(b'v');
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    out.put_u32(0x0003_0000);
    out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
    for option in unknown {
        out.put_slice(option.as_bytes());
        out.put_u8(0);
    }
}

/// Splits the `options` parameter into the settings that it sets: `-c name=value` and
/// `--name=value`, with backslash escapes, as the server's own command line reads them. Any other
/// switch is an error.
pub fn options(text: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut found = Vec::new();
    let mut words = split(text).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or(StartupError::Malformed)?
        } else if let Some(rest) = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            rest.to_owned()
        } else {
            return Err(StartupError::Malformed);
        };
        let (name, value) = setting.split_once('=').ok_or(StartupError::Malformed)?;
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut chars) = (Vec::new(), String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(body.len() + 8).unwrap());
        bytes.put_u32(code);
        bytes.put_slice(body);
        bytes.freeze()
    }

    #[test]
    fn reads_every_opening() {
        assert!(matches!(parse(&packet(SSL_REQUEST, b"")), Ok(Opening::Ssl)));
        assert!(matches!(parse(&packet(GSSENC_REQUEST, b"")), Ok(Opening::GssEnc)));
        assert!(matches!(parse(&packet(CANCEL_REQUEST, &[0; 8])), Ok(Opening::Cancel { pid: 0, .. })));
        let Ok(Opening::Startup { minor, parameters }) = parse(&packet(0x0003_0002, b"user\0a\0database\0b\0\0"))
        else {
            panic!("a start-up message")
        };
        assert_eq!(minor, 2);
        assert_eq!(parameters, [("user".into(), "a".into()), ("database".into(), "b".into())]);
        assert!(matches!(parse(&packet(0x0002_0000, b"\0")), Err(StartupError::Version(2, 0))));
    }

    #[test]
    fn malformed_start_ups_are_refused() {
        for body in [b"user".as_slice(), b"user\0", b"user\0a\0", b"user\0a\0user\0b\0\0", b"\xff\0a\0\0"] {
            assert_eq!(parse(&packet(0x0003_0000, body)).err(), Some(StartupError::Malformed), "{body:?}");
        }
    }

    #[test]
    fn options_are_the_settings_they_set() {
        let found = options(r"-c search_path=a\ b --work-mem=4MB -cgeqo=off").unwrap();
        let expected = [("search_path", "a b"), ("work_mem", "4MB"), ("geqo", "off")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(options("-d 5").is_err());
    }
}
