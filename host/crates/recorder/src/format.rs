//! How the record is laid out in the store, format 2. All integers are big-endian, so that keys sort as
//! they should; session and approval ids (UUID version 7) sort by time.
//!
//! | key                             | value                                                        |
//! |---------------------------------|--------------------------------------------------------------|
//! | `v`                             | the format's number, 4 bytes                                 |
//! | `e`, session, entry's number    | a block of entries, the first of which has this number       |
//! | `h`, session, entry's number    | the signed head whose last entry this is                     |
//! | `s`, session                    | the session's summary in MessagePack                         |
//! | `o`, session                    | bytes of its blocks; there while the session is open         |
//! | `t`, target, session            | bytes of its blocks and its end; there once it has ended     |
//! | `g`, target                     | bytes of all its sessions' blocks                            |
//! | `a`, approval                   | the approval in MessagePack                                  |
//! | `p`, session, approval          | nothing: the approvals of a session                          |
//! | `r`, session                    | when retention removed the session, and its last head        |
//! | `x`, session                    | nothing: a removed session whose blocks are still going      |
//! | `m`                             | how often the store was flushed, 8 bytes; see `mark.rs`      |
//!
//! MessagePack maps carry field names: a field may be added with a default and the format stays.
//! Format 1 had blocks without hashes under `b`; see `upgrade.rs`.

use serde::{Serialize, de::DeserializeOwned};
use sluicegate_core::{ApprovalId, SessionId};
use uuid::Uuid;

use crate::{
    error::StoreError,
    proof::{Hash, Head, SignedHead},
};

/// The number of this format.
pub(crate) const VERSION: u32 = 2;
/// Where that number is kept.
pub(crate) const VERSION_KEY: &[u8] = b"v";
/// Where the store keeps the number of its mark.
pub(crate) const MARK_KEY: &[u8] = b"m";
/// What the key of a block begins with.
pub(crate) const BLOCK: u8 = b'e';
/// What the key of a head begins with.
pub(crate) const HEAD: u8 = b'h';
/// Bytes of an id.
const ID_BYTES: usize = 16;

/// Writes a summary or an approval.
pub(crate) fn pack(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(value).map_err(StoreError::Encode)
}

/// Reads a summary or an approval back.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|_| StoreError::Damaged("a summary or an approval cannot be read"))
}

/// The key of a block or a head.
pub(crate) fn numbered_key(kind: u8, session: SessionId, number: u64) -> Vec<u8> {
    let mut key = session_key(kind, session);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in the key of a block or a head.
pub(crate) fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk().copied().map(u64::from_be_bytes).ok_or(StoreError::Damaged("a key is too short"))
}

/// The key of what there is once for a session.
pub(crate) fn session_key(kind: u8, session: SessionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + ID_BYTES + size_of::<u64>());
    key.push(kind);
    key.extend_from_slice(session.0.as_bytes());
    key
}

/// The session in the key of what there is once for a session.
pub(crate) fn session_of(key: &[u8]) -> Result<SessionId, StoreError> {
    key.get(1..)
        .and_then(|rest| rest.first_chunk::<ID_BYTES>())
        .map(|id| SessionId(Uuid::from_bytes(*id)))
        .ok_or(StoreError::Damaged("a key is too short"))
}

/// The key of an approval.
pub(crate) fn approval_key(id: ApprovalId) -> Vec<u8> {
    [b"a".as_slice(), id.0.as_bytes()].concat()
}

/// The key that says that an approval is a session's.
pub(crate) fn asked_key(session: SessionId, id: ApprovalId) -> Vec<u8> {
    [session_key(b'p', session).as_slice(), id.0.as_bytes()].concat()
}

/// The approval in such a key.
pub(crate) fn asked_of(key: &[u8]) -> Result<ApprovalId, StoreError> {
    id_at_end(key).map(ApprovalId)
}

/// The key of a target's size.
pub(crate) fn size_key(target: &str) -> Vec<u8> {
    [b"g", target.as_bytes()].concat()
}

/// What the keys of a target's ended sessions begin with. The length keeps targets apart of which one's
/// name begins with the other's.
pub(crate) fn ended_prefix(target: &str) -> Vec<u8> {
    [b"t".as_slice(), &(target.len() as u64).to_be_bytes(), target.as_bytes()].concat()
}

/// The key of an ended session.
pub(crate) fn ended_key(target: &str, session: SessionId) -> Vec<u8> {
    [ended_prefix(target).as_slice(), session.0.as_bytes()].concat()
}

/// The session in such a key.
pub(crate) fn ended_of(key: &[u8]) -> Result<SessionId, StoreError> {
    id_at_end(key).map(SessionId)
}

fn id_at_end(key: &[u8]) -> Result<Uuid, StoreError> {
    key.last_chunk::<ID_BYTES>().map(|id| Uuid::from_bytes(*id)).ok_or(StoreError::Damaged("a key is too short"))
}

/// Two numbers, or the first of them, as a value.
pub(crate) fn numbers(bytes: &[u8]) -> (u64, i64) {
    let (first, rest) = bytes.split_first_chunk().map_or((0, bytes), |(n, rest)| (u64::from_be_bytes(*n), rest));
    (first, rest.first_chunk().map_or(0, |n| i64::from_be_bytes(*n)))
}

/// A head as a value. The session and the number are in its key.
pub(crate) fn encode_head(signed: &SignedHead) -> Vec<u8> {
    let SignedHead { head, signature, key } = signed;
    [&head.at.to_be_bytes(), [u8::from(head.end)].as_slice(), &head.hash.0, signature, &key.0].concat()
}

/// Reads a head back.
pub(crate) fn decode_head(session: SessionId, number: u64, value: &[u8]) -> Result<SignedHead, StoreError> {
    let read = || {
        let (at, rest) = value.split_first_chunk()?;
        let (end, rest) = rest.split_first()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (signature, rest) = rest.split_first_chunk()?;
        let key = Hash(rest.try_into().ok()?);
        let head = Head { session, number, hash: Hash(*hash), at: i64::from_be_bytes(*at), end: *end != 0 };
        Some(SignedHead { head, signature: *signature, key })
    };
    read().ok_or(StoreError::Damaged("a signed head cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_session_and_sort_by_number() {
        let session = SessionId(Uuid::now_v7());
        assert_eq!(session_of(&session_key(b'o', session)).unwrap(), session);
        assert_eq!(number_of(&numbered_key(BLOCK, session, 300)).unwrap(), 300);
        assert!(numbered_key(BLOCK, session, 255) < numbered_key(BLOCK, session, 256));
        assert!(session_of(b"o").is_err() && ended_of(b"t").is_err());
        let id = ApprovalId(Uuid::now_v7());
        assert_eq!(asked_of(&asked_key(session, id)).unwrap(), id);
        assert_eq!(ended_of(&ended_key("orders", session)).unwrap(), session);
        assert!(!ended_key("orders-2", session).starts_with(&ended_prefix("orders")));
    }

    #[test]
    fn heads_come_back_as_they_were() {
        let session = SessionId(Uuid::now_v7());
        let head = Head { session, number: 7, hash: Hash([1; 32]), at: -5, end: true };
        let signed = SignedHead { head, signature: [2; 64], key: Hash([3; 32]) };
        let value = encode_head(&signed);
        assert_eq!(decode_head(session, 7, &value).unwrap(), signed);
        assert!(decode_head(session, 7, &value[1..]).is_err());
    }
}
