//! Messages of the login and between two sessions, read one by one and bounded before anything is allocated
//! for them. Not used while a session runs.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use sluicegate_net::MaybeTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::DialError;

/// How much is read at a time at least.
const READ_SIZE: usize = 4096;

/// The largest message of a login that is read.
const MAX_MESSAGE: usize = 64 * 1024;

/// A connection during its login, or between two sessions.
pub(crate) struct Wire<'a> {
    stream: &'a mut MaybeTls,
    buffer: BytesMut,
}

impl<'a> Wire<'a> {
    /// `read_ahead` is what was read already.
    pub(crate) fn new(stream: &'a mut MaybeTls, read_ahead: BytesMut) -> Self {
        Self { stream, buffer: read_ahead }
    }

    pub(crate) fn stream(&self) -> &MaybeTls {
        self.stream
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), DialError> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next message that is not a notice.
    pub(crate) async fn next(&mut self) -> Result<Message, DialError> {
        loop {
            let header = Header::parse(&self.buffer).map_err(|_| DialError::Protocol("a message's length is wrong"))?;
            if let Some(header) = header {
                let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
                if length > MAX_MESSAGE {
                    return Err(DialError::TooLarge(length));
                }
            }
            let parsed = Message::parse(&mut self.buffer)
                .map_err(|_| DialError::Protocol("a message that does not parse during the login"))?;
            match parsed {
                Some(Message::NoticeResponse(_)) => {}
                Some(Message::ErrorResponse(body)) => return Err(refused(&body)),
                Some(message) => return Ok(message),
                None => {
                    self.buffer.reserve(READ_SIZE);
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                }
            }
        }
    }

    /// What was read beyond.
    pub(crate) fn into_rest(self) -> BytesMut {
        self.buffer
    }
}

/// The server's error, for the log.
pub(crate) fn refused(body: &ErrorResponseBody) -> DialError {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).chars().filter(|c| !c.is_control()).collect();
        match field.type_() {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    DialError::Refused { code, message }
}
