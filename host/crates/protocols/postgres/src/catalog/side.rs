//! The gateway's own connection to a target: simple queries without parameters, answered row by row.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{
    backend::{DataRowBody, Header, Message},
    frontend,
};
use sluicegate_credentials::VaultLease;
use sluicegate_net::MaybeTls;
use sluicegate_sql::catalog::Oid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Cause;
use crate::{
    config::Target,
    upstream::{DialError, dial_for_catalog, refused},
};

/// The largest row: a view's rule is as long as its definition is complicated.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// How much is read at a time at least.
const READ_SIZE: usize = 64 * 1024;

pub(super) struct Side {
    stream: MaybeTls,
    buffer: BytesMut,
    /// What was lent for this connection alone.
    lease: Option<VaultLease>,
}

impl Side {
    pub(super) async fn open(target: &Arc<Target>) -> Result<Self, Cause> {
        let upstream = dial_for_catalog(target).await?;
        Ok(Self { stream: upstream.stream, buffer: upstream.read_ahead, lease: upstream.lease })
    }

    /// This connection, unused for a while, if it still answers and may be used on, or else a new one.
    pub(super) async fn or_new(mut self, target: &Arc<Target>) -> Result<Self, Cause> {
        if self.lease.as_ref().is_some_and(VaultLease::is_over) {
            self.close().await;
            return Self::open(target).await;
        }
        match self.query("select 1", |_| Ok(())).await {
            Ok(()) => Ok(self),
            Err(_) => Self::open(target).await,
        }
    }

    /// Runs one statement and hands over its rows. After an error the connection is of no more use.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        mut each: impl FnMut(&Row) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let mut request = BytesMut::with_capacity(sql.len() + 8);
        frontend::query(sql, &mut request).map_err(|_| Cause::Answer("a query has a NUL byte in it"))?;
        self.send(&request).await?;
        loop {
            match self.next().await? {
                Message::DataRow(body) => each(&Row::new(&body)?)?,
                Message::ErrorResponse(body) => return Err(refused(&body).into()),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::RowDescription(_)
                | Message::CommandComplete(_)
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_) => {}
                _ => return Err(Cause::Answer("an unexpected message")),
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        let mut request = BytesMut::with_capacity(5);
        frontend::terminate(&mut request);
        // The connection ends either way.
        let _ = self.send(&request).await;
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        self.stream.write_all(bytes).await.map_err(DialError::from)?;
        self.stream.flush().await.map_err(DialError::from)?;
        Ok(())
    }

    async fn next(&mut self) -> Result<Message, Cause> {
        let malformed = |_| Cause::Answer("a message does not parse");
        loop {
            if let Some(header) = Header::parse(&self.buffer).map_err(malformed)?
                && usize::try_from(header.len()).is_ok_and(|length| length > MAX_MESSAGE)
            {
                return Err(Cause::TooLarge { what: "bytes in one row of its catalog", limit: MAX_MESSAGE });
            }
            if let Some(message) = Message::parse(&mut self.buffer).map_err(malformed)? {
                return Ok(message);
            }
            self.buffer.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.buffer).await.map_err(DialError::from)? == 0 {
                let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(DialError::from(closed).into());
            }
        }
    }
}

/// One row, in text.
pub(super) struct Row {
    bytes: Bytes,
    values: Vec<Option<Range<usize>>>,
}

impl Row {
    fn new(body: &DataRowBody) -> Result<Self, Cause> {
        let values = body.ranges().collect().map_err(|_| Cause::Answer("a row does not parse"))?;
        Ok(Self { bytes: body.buffer_bytes().clone(), values })
    }

    /// A value that is not NULL.
    pub(super) fn text(&self, index: usize) -> Result<&str, Cause> {
        let range = self.values.get(index).cloned().flatten().ok_or(Cause::Answer("a value is missing"))?;
        let bytes = self.bytes.get(range).ok_or(Cause::Answer("a value is missing"))?;
        std::str::from_utf8(bytes).map_err(|_| Cause::Answer("a value is not UTF-8"))
    }

    pub(super) fn oid(&self, index: usize) -> Result<Oid, Cause> {
        self.text(index)?.parse().map_err(|_| Cause::Answer("an OID is not a number"))
    }

    pub(super) fn attnum(&self, index: usize) -> Result<i16, Cause> {
        self.text(index)?.parse().map_err(|_| Cause::Answer("an attribute number is not a number"))
    }

    pub(super) fn flag(&self, index: usize) -> Result<bool, Cause> {
        Ok(self.text(index)? == "t")
    }
}
