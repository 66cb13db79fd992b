//! Session tokens of the administration API: what a person who has proven who they are shows from then
//! on. They live in memory alone, as hashes, and die with the gateway, after 12 hours, or when their
//! user is removed or gets another secret.

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sluicegate_core::{Basis, Proven, identity::Tokens, record};
use subtle::ConstantTimeEq;

use crate::BuiltinUsers;

/// What every token begins with, so that one that leaked is recognised.
const PREFIX: &str = "sgt_";
/// Randomness of a token.
const TOKEN_BYTES: usize = 32;
/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Tokens of one user; a further one ends the oldest.
const MAX_PER_USER: usize = 20;
/// Tokens in all; beyond that nobody gets one until others end.
const MAX_TOKENS: usize = 10_000;

/// The tokens of the built-in users.
pub struct SessionTokens {
    users: Arc<BuiltinUsers>,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    by_hash: HashMap<TokenHash, Issued>,
    /// Each user's, oldest first.
    by_user: HashMap<String, VecDeque<TokenHash>>,
}

/// To whom a token was given.
struct Issued {
    user: String,
    life: u64,
    expires: Instant,
    /// The same, in milliseconds since the Unix epoch.
    expires_at: i64,
}

/// SHA-256 of a token. It is as hard to guess as the token, and does not lead back to it.
#[derive(Clone, Copy)]
struct TokenHash([u8; 32]);

impl SessionTokens {
    /// No tokens yet.
    pub fn new(users: Arc<BuiltinUsers>) -> Self {
        Self { users, store: Mutex::default() }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue_at(&self, proven: &Proven, now: Instant) -> Option<SecretString> {
        // Whoever came by an issuer's token may have the name of somebody who was added since.
        let Proven { identity, basis } = proven;
        let (_, life) = self.users.standing(&identity.user).filter(|_| identity.token.is_none())?;
        // Whoever proved themselves with a secret that was just changed gets none.
        if life != basis.life {
            return None;
        }
        let mut random = [0; TOKEN_BYTES];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "no token can be given out: the system gave no random bytes");
            return None;
        }
        let token = SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)));
        let mut store = self.store();
        store.make_room(&identity.user);
        if store.by_hash.len() >= MAX_TOKENS {
            store.sweep(&self.users, now);
        }
        if store.by_hash.len() >= MAX_TOKENS {
            tracing::warn!(user = identity.user, "no token can be given out: there are {MAX_TOKENS} already");
            return None;
        }
        let expires_at = expires_at();
        let issued = Issued { user: identity.user.clone(), life, expires: now + LIFETIME, expires_at };
        store.insert(TokenHash::of(&token), issued);
        Some(token)
    }

    fn verify_at(&self, token: &SecretString, now: Instant) -> Option<Proven> {
        let hash = TokenHash::of(token);
        let mut store = self.store();
        let proven = store.by_hash.get(&hash)?.holder(&self.users, now);
        if proven.is_none() {
            store.remove(&hash);
        }
        proven
    }
}

impl Tokens for SessionTokens {
    fn issue(&self, proven: &Proven) -> Option<(SecretString, i64)> {
        self.issue_at(proven, Instant::now()).map(|token| (token, expires_at()))
    }

    fn verify(&self, token: &SecretString) -> Option<Proven> {
        self.verify_at(token, Instant::now())
    }

    fn revoke(&self, token: &SecretString) {
        self.store().remove(&TokenHash::of(token));
    }
}

impl Store {
    fn insert(&mut self, hash: TokenHash, issued: Issued) {
        self.by_user.entry(issued.user.clone()).or_default().push_back(hash);
        self.by_hash.insert(hash, issued);
    }

    fn remove(&mut self, hash: &TokenHash) {
        let Some(issued) = self.by_hash.remove(hash) else { return };
        if let Some(tokens) = self.by_user.get_mut(&issued.user) {
            tokens.retain(|known| known != hash);
            if tokens.is_empty() {
                self.by_user.remove(&issued.user);
            }
        }
    }

    /// Ends the user's oldest tokens, so that one more may be given out.
    fn make_room(&mut self, user: &str) {
        let Some(tokens) = self.by_user.get_mut(user) else { return };
        while tokens.len() >= MAX_PER_USER {
            if let Some(oldest) = tokens.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
    }

    /// Forgets the tokens that nobody can use any more.
    fn sweep(&mut self, users: &BuiltinUsers, now: Instant) {
        self.by_hash.retain(|_, issued| issued.holder(users, now).is_some());
        let by_hash = &self.by_hash;
        self.by_user.retain(|_, tokens| {
            tokens.retain(|hash| by_hash.contains_key(hash));
            !tokens.is_empty()
        });
    }
}

impl Issued {
    /// Who holds the token, as they are now; none where it is not valid any more.
    fn holder(&self, users: &BuiltinUsers, now: Instant) -> Option<Proven> {
        let (identity, life) = users.standing(&self.user)?;
        let basis = Basis { life, expires_at: Some(self.expires_at), ..Basis::default() };
        (now < self.expires && life == self.life).then_some(Proven { identity, basis })
    }
}

/// When a token ends that is given out now, in milliseconds since the Unix epoch.
fn expires_at() -> i64 {
    record::now().saturating_add(i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX))
}

impl TokenHash {
    fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_core::Identity;

    use super::*;
    use crate::{SecretHash, User, hash_secret};

    fn user(name: &str, group: &str, secret_hash: &str) -> User {
        let secret_hash = SecretHash::from(secret_hash.to_owned());
        User::person(name, vec![group.to_owned()], secret_hash)
    }

    fn identity(name: &str, group: &str) -> Identity {
        Identity::builtin(name, vec![group.to_owned()])
    }

    fn proven(tokens: &SessionTokens, name: &str) -> Proven {
        let (identity, life) = tokens.users.standing(name).unwrap_or((identity(name, "ops"), 0));
        Proven { identity, basis: Basis { life, ..Basis::default() } }
    }

    fn tokens(users: &[User]) -> SessionTokens {
        SessionTokens::new(Arc::new(BuiltinUsers::new(users).unwrap()))
    }

    #[test]
    fn a_token_stands_for_its_user_until_it_is_revoked() {
        let hash = hash_secret("sesame".into()).unwrap();
        let tokens = tokens(&[user("alice", "ops", &hash), user("bob", "dev", &hash)]);
        let alice = identity("alice", "ops");
        let (token, expires) = tokens.issue(&proven(&tokens, "alice")).unwrap();
        let (other, _) = tokens.issue(&proven(&tokens, "bob")).unwrap();
        let who = |token| tokens.verify(token).map(|proven| proven.identity);
        assert!(token.expose_secret().starts_with("sgt_") && token.expose_secret().len() == 47);
        let hours = (expires - record::now()) / 3_600_000;
        assert!((11..=12).contains(&hours), "{hours}");
        assert_eq!(who(&token), Some(alice));
        assert_eq!(tokens.verify(&"sgt_".into()), None);
        assert_eq!(tokens.verify(&format!("{}x", token.expose_secret()).into()), None);
        tokens.revoke(&token);
        assert_eq!(tokens.verify(&token), None);
        assert_eq!(who(&other), Some(identity("bob", "dev")));
        assert!(tokens.issue(&proven(&tokens, "carol")).is_none(), "nobody of that name");
    }

    #[test]
    fn a_token_ends_in_its_time() {
        let tokens = tokens(&[user("alice", "ops", &hash_secret("sesame".into()).unwrap())]);
        let start = Instant::now();
        let token = tokens.issue_at(&proven(&tokens, "alice"), start).unwrap();
        let almost = start + LIFETIME - Duration::from_secs(1);
        assert!(tokens.verify_at(&token, almost).is_some());
        assert!(tokens.verify_at(&token, start + LIFETIME).is_none());
        assert!(tokens.verify_at(&token, almost).is_none(), "what ended stays ended");
        assert!(tokens.store().by_user.is_empty());
    }

    #[test]
    fn a_token_dies_with_its_user_and_with_their_secret() {
        let [old, new] = ["sesame", "walnut"].map(|secret| hash_secret(secret.into()).unwrap());
        let tokens = tokens(&[user("alice", "ops", &old), user("bob", "ops", &old)]);
        let issue = |name: &str| tokens.issue(&proven(&tokens, name)).unwrap().0;
        let (alices, bobs, before) = (issue("alice"), issue("bob"), proven(&tokens, "bob"));
        tokens.users.replace(&[user("alice", "dba", &old), user("bob", "ops", &new)]).unwrap();
        assert_eq!(
            tokens.verify(&alices).map(|proven| proven.identity),
            Some(identity("alice", "dba")),
            "groups are those of now"
        );
        assert_eq!(tokens.verify(&bobs), None, "another secret");
        assert!(tokens.issue(&before).is_none(), "nor does the old secret give one");
        tokens.users.replace(&[]).unwrap();
        tokens.users.replace(&[user("alice", "dba", &old)]).unwrap();
        assert_eq!(tokens.verify(&alices), None, "who comes back proves themselves again");
    }

    #[test]
    fn tokens_are_bounded_per_user_and_in_all() {
        let hash = hash_secret("sesame".into()).unwrap();
        let crowd = MAX_TOKENS / MAX_PER_USER;
        let users: Vec<_> = (0..=crowd).map(|n| user(&format!("u{n}"), "ops", &hash)).collect();
        let tokens = tokens(&users);
        let start = Instant::now();
        let issue = |n: usize, now| tokens.issue_at(&proven(&tokens, &format!("u{n}")), now);
        let first = issue(0, start).unwrap();
        let second = issue(0, start).unwrap();
        for _ in 2..=MAX_PER_USER {
            issue(0, start).unwrap();
        }
        assert!(tokens.verify(&first).is_none(), "the oldest went");
        assert!(tokens.verify(&second).is_some());
        for n in (1..crowd).flat_map(|n| [n; MAX_PER_USER]) {
            issue(n, start).unwrap();
        }
        assert!(issue(crowd, start).is_none(), "there are enough");
        assert!(issue(0, start).is_some(), "whose oldest goes takes no room");
        assert!(issue(crowd, start + LIFETIME).is_some(), "the expired make room");
        assert_eq!(tokens.store().by_hash.len(), 1);
    }
}
