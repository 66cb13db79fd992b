//! What opens a connection.

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_postgres::codec::startup::{MAX_STARTUP, Opening, length, options, parse};

/// A packet that is read is read whole: written again from what was found, it is the same bytes. The
/// settings of `options`, written again, are the same settings.
pub fn startup(data: &[u8]) {
    let Ok(Some(length)) = length(data) else { return };
    assert!((8..=MAX_STARTUP).contains(&length));
    let Some(packet) = data.get(..length).map(Bytes::copy_from_slice) else { return };
    let Ok(opening) = parse(&packet) else { return };
    let mut again = BytesMut::new();
    match &opening {
        Opening::Ssl => again.put_u32(80_877_103),
        Opening::GssEnc => again.put_u32(80_877_104),
        Opening::Cancel { pid, key } => {
            again.put_u32(80_877_102);
            again.put_u32(*pid);
            again.put_slice(key);
        }
        Opening::Startup { minor, parameters } => {
            again.put_u16(3);
            again.put_u16(*minor);
            for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
                again.put_slice(text.as_bytes());
                again.put_u8(0);
            }
            again.put_u8(0);
            parameters.iter().for_each(|(_, value)| settings(value));
        }
    }
    assert_eq!(again, packet[4..]);
}

fn settings(text: &str) {
    let Ok(found) = options(text) else { return };
    let escaped = |text: &str| text.chars().flat_map(|c| ['\\', c]).collect::<String>();
    let words = found.iter().map(|(name, value)| format!("-c {}={} ", escaped(name), escaped(value)));
    assert_eq!(options(&words.collect::<String>()), Ok(found.clone()));
}
