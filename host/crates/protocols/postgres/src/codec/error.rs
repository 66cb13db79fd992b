//! What can be wrong with result data. The texts name the fault and never hold a value.

/// Why rows cannot be read or rewritten. The result must not go on: block it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A DataRow's lengths contradict each other.
    #[error("the target sent a malformed DataRow ({0}), so the result was stopped; look into the target's health")]
    Row(&'static str),
    /// More columns than PostgreSQL itself allows.
    #[error("a row has {0} columns, but PostgreSQL allows 1664; look into the target's health")]
    TooManyColumns(usize),
    /// A rewritten row does not fit into one message.
    #[error("a masked row does not fit into one message; select fewer or smaller columns")]
    RowTooLarge,
    /// COPY data that PostgreSQL would not write in this format.
    #[error("the COPY data is not what the statement's options announce ({0}), so it was stopped; use SELECT instead")]
    Copy(&'static str),
    /// A COPY row that must be masked is larger than the gateway holds.
    #[error("a COPY row is larger than {0} bytes, more than can be masked; copy fewer or smaller columns")]
    CopyRowTooLarge(usize),
    /// A COPY row has another number of columns than announced.
    #[error("a COPY row has {found} columns where {expected} were announced, so it was stopped; use SELECT instead")]
    CopyColumns {
        /// As announced.
        expected: usize,
        /// As found.
        found: usize,
    },
    /// COPY options that make its data ambiguous.
    #[error("COPY with {0} cannot be masked safely; choose other COPY options")]
    CopyOptions(&'static str),
    /// An encoding in which a delimiter's byte may be a part of another character.
    #[error("COPY in the encoding {0} cannot be masked safely; set client_encoding to UTF8")]
    CopyEncoding(String),
}
