//! The users of the configuration as an authenticator. Whoever asks for a user that does not exist
//! pays what a wrong secret costs, so that names cannot be found out by timing.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use sluicegate_core::{Authenticator, Basis, Directory, Identity, Proven, Verification, identity::Kind, record};

use crate::{
    credential::{Credential, HashProblem, is_plausible},
    recent::{MarkKey, Proof, UnderWay},
    user::{SecretHash, User},
    workers::{Answer, Workers},
};

/// The most bytes of a user's or a group's name; the record keeps no more.
const MAX_NAME_BYTES: usize = 128;

/// A user of the configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("user `{name}` cannot be used: {why}")]
pub struct InvalidUser {
    /// Where it stands among the users, from 0.
    pub index: usize,
    /// Its name, as written.
    pub name: String,
    /// What is wrong.
    pub why: UserProblem,
}

impl InvalidUser {
    /// What all users need cannot be had.
    fn nobody(error: getrandom::Error) -> Self {
        Self { index: 0, name: String::new(), why: UserProblem::Random(error) }
    }
}

/// What is wrong with a user.
#[derive(Debug, thiserror::Error)]
pub enum UserProblem {
    /// Its name, or a group's, is empty, too long or holds control characters.
    #[error("names of users and groups have 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Name,
    /// The name was taken before.
    #[error("another user has that name; keep one of them")]
    Duplicate,
    /// A service or an agent is nobody's.
    #[error(
        "a user of kind `service` or `agent` has an `owner`, the name of the person who answers for it, and a person has none"
    )]
    Owner,
    /// A person could not log in.
    #[error("it has no `secret_hash`; make one with `sluicegate user hash`")]
    NoHash,
    /// Its secret's hash is no good.
    #[error("its `secret_hash` is refused because {0}; make a new one with `sluicegate user hash`")]
    Hash(HashProblem),
    /// The system has no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The built-in users. A secret that was verified is not verified again for a minute.
pub struct BuiltinUsers {
    users: ArcSwap<Users>,
    /// Held while users are replaced.
    last_life: Mutex<u64>,
    workers: Workers,
    mark_key: MarkKey,
    /// Picks a decoy by name, unpredictably from outside and always the same one for the same name.
    picker: RandomState,
}

struct Users {
    by_name: HashMap<String, Known>,
    /// One for each user, so that unknown names cost what known ones do. Never empty.
    decoys: Vec<Arc<Credential>>,
    under_way: UnderWay,
}

struct Known {
    identity: Identity,
    credential: Arc<Credential>,
    /// Goes with the users that it belongs to: after each change of the configuration all are verified anew.
    proof: Proof,
    secret_hash: Option<SecretHash>,
    /// Which of those that ever had this name it is: somebody who was removed and came back, or who got
    /// another secret, is another one.
    life: u64,
}

impl BuiltinUsers {
    /// Checks the users and takes them in force. No users at all is fine: then nobody gets in.
    pub fn new(users: &[User]) -> Result<Self, InvalidUser> {
        let mut last_life = 0;
        let users = ArcSwap::from_pointee(Users::parse(users, None, &mut last_life)?);
        let last_life = Mutex::new(last_life);
        let mark_key = MarkKey::random().map_err(InvalidUser::nobody)?;
        Ok(Self { users, last_life, workers: Workers::per_core(), mark_key, picker: RandomState::new() })
    }

    /// Replaces all users at once; on an error those before stay in force. Sessions that are open
    /// stay open, and a verification under way ends as it began.
    pub fn replace(&self, users: &[User]) -> Result<(), InvalidUser> {
        let mut last_life = self.last_life.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.users.load_full();
        self.users.store(Arc::new(Users::parse(users, Some(&before), &mut last_life)?));
        Ok(())
    }

    /// Who has this name now, and which of those that ever had it that is.
    pub(crate) fn standing(&self, name: &str) -> Option<(Identity, u64)> {
        self.users.load().by_name.get(name).map(|known| (known.identity.clone(), known.life))
    }

    async fn prove(&self, user: &str, secret: SecretString) -> Verification {
        if !is_plausible(&secret) {
            return Verification::Wrong;
        }
        let users = self.users.load_full();
        let known = users.by_name.get(user);
        let credential = match known {
            Some(known) => Some(Arc::clone(&known.credential)),
            None => users.decoy(self.picker.hash_one(user)),
        };
        let Some(credential) = credential else { return Verification::Wrong };
        let mark = self.mark_key.mark(user, &secret);
        if let Some(known) = known.filter(|known| known.proof.holds(&mark)) {
            return Verification::Verified(known.proven());
        }
        match (users.under_way.share(mark, self.workers.verify(credential, secret)).await, known) {
            (Answer::Right, Some(known)) => {
                known.proof.give(mark);
                Verification::Verified(known.proven())
            }
            (Answer::Right | Answer::Wrong, _) => Verification::Wrong,
            (Answer::Busy, _) => Verification::Busy,
        }
    }
}

impl Known {
    fn proven(&self) -> Proven {
        Proven { identity: self.identity.clone(), basis: Basis { life: self.life, ..Basis::default() } }
    }
}

impl Directory for BuiltinUsers {
    fn standing(&self, identity: &Identity, life: u64) -> Option<Identity> {
        let known = Self::standing(self, &identity.user).filter(|_| identity.token.is_none());
        known.filter(|now| now.1 == life).map(|now| now.0)
    }

    fn called(&self, name: &str) -> Option<(Identity, u64)> {
        Self::standing(self, name)
    }
}

impl Authenticator for BuiltinUsers {
    fn verify<'a>(
        &'a self,
        user: &'a str,
        secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        Box::pin(self.prove(user, secret))
    }
}

impl Users {
    /// Those who were there `before`, with the same secret, live on; others begin a new life.
    fn parse(users: &[User], before: Option<&Self>, last_life: &mut u64) -> Result<Self, InvalidUser> {
        let mut by_name = HashMap::with_capacity(users.len());
        let mut decoys = Vec::with_capacity(users.len().max(1));
        let mut names = HashSet::with_capacity(users.len());
        for (index, user) in users.iter().enumerate() {
            let refuse = |why| InvalidUser { index, name: user.name.escape_debug().to_string(), why };
            if !user.groups.iter().chain([&user.name]).all(|name| is_name(name)) {
                return Err(refuse(UserProblem::Name));
            }
            if !names.insert(&user.name) {
                return Err(refuse(UserProblem::Duplicate));
            }
            if (user.kind == Kind::Person) != user.owner.is_none() || user.owner.as_deref().is_some_and(|o| !is_name(o))
            {
                return Err(refuse(UserProblem::Owner));
            }
            let credential = match &user.secret_hash {
                Some(hash) => Credential::parse(hash.expose()).map_err(|e| refuse(UserProblem::Hash(e)))?,
                None if user.kind == Kind::Person => return Err(refuse(UserProblem::NoHash)),
                None => Credential::lone_decoy().map_err(|e| refuse(UserProblem::Random(e)))?,
            };
            decoys.push(Arc::new(credential.decoy().map_err(|e| refuse(UserProblem::Random(e)))?));
            let (kind, owner) = (user.kind, user.owner.clone());
            let identity = Identity { kind, owner, ..Identity::builtin(&*user.name, user.groups.clone()) };
            let secret_hash = user.secret_hash.clone();
            let same = before.and_then(|b| b.by_name.get(&user.name)).filter(|known| known.secret_hash == secret_hash);
            let life = same.map_or_else(
                || {
                    *last_life += 1;
                    *last_life
                },
                |known| known.life,
            );
            let (credential, proof) = (Arc::new(credential), Proof::default());
            by_name.insert(user.name.clone(), Known { identity, credential, proof, secret_hash, life });
        }
        if decoys.is_empty() {
            decoys.push(Arc::new(Credential::lone_decoy().map_err(InvalidUser::nobody)?));
        }
        Ok(Self { by_name, decoys, under_way: UnderWay::default() })
    }

    fn decoy(&self, number: u64) -> Option<Arc<Credential>> {
        let count = u64::try_from(self.decoys.len()).ok()?;
        let index = usize::try_from(number.checked_rem(count)?).ok()?;
        self.decoys.get(index).cloned()
    }
}

/// Whether a user or a group may have that name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(record::rearranges)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{SecretHash, hash_secret};

    fn user(name: &str, secret: &str) -> User {
        let secret_hash = SecretHash::from(hash_secret(secret.into()).unwrap());
        User::person(name, vec!["ops".to_owned()], secret_hash)
    }

    #[tokio::test]
    async fn the_right_secret_gives_the_identity_and_nothing_else_does() {
        let users = BuiltinUsers::new(&[user("alice", "sesame"), user("bob", "walnut")]).unwrap();
        let alice = Identity::builtin("alice", vec!["ops".to_owned()]);
        let Verification::Verified(proven) = users.verify("alice", "sesame".into()).await else {
            panic!("it is right")
        };
        assert_eq!(proven.identity, alice);
        assert_eq!(users.verify("alice", "walnut".into()).await, Verification::Wrong);
        assert_eq!(users.verify("carol", "sesame".into()).await, Verification::Wrong);
        assert_eq!(users.verify("Alice", "sesame".into()).await, Verification::Wrong);
        assert_eq!(users.verify("alice", "".into()).await, Verification::Wrong);
        assert_eq!(users.verify("alice", "x".repeat(4096).into()).await, Verification::Wrong);
    }

    #[tokio::test]
    async fn without_users_nobody_gets_in() {
        let users = BuiltinUsers::new(&[]).unwrap();
        assert_eq!(users.verify("alice", "sesame".into()).await, Verification::Wrong);
    }

    #[tokio::test]
    async fn users_are_replaced_and_a_bad_one_replaces_nothing() {
        let users = BuiltinUsers::new(&[user("alice", "sesame")]).unwrap();
        let mut broken = user("bob", "walnut");
        broken.secret_hash = Some(SecretHash::from("walnut".to_owned()));
        let error = users.replace(&[user("carol", "x"), broken]).unwrap_err();
        assert_eq!((error.index, error.name.as_str()), (1, "bob"));
        let message = error.to_string();
        assert!(message.contains("sluicegate user hash") && !message.contains("walnut"), "{message}");
        assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
        users.replace(&[user("bob", "walnut")]).unwrap();
        assert!(matches!(users.verify("bob", "walnut".into()).await, Verification::Verified(_)));
        assert_eq!(users.verify("alice", "sesame".into()).await, Verification::Wrong);
    }

    #[test]
    fn names_are_checked() {
        let problem = |users: &[User]| BuiltinUsers::new(users).err().map(|e| e.why);
        let alice = user("alice", "sesame");
        assert!(matches!(problem(&[alice.clone(), alice.clone()]), Some(UserProblem::Duplicate)));
        for name in ["", "a\nb", &"x".repeat(129)] {
            let mut bad = alice.clone();
            bad.name = name.to_owned();
            assert!(matches!(problem(&[bad]), Some(UserProblem::Name)));
        }
        let mut bad = alice;
        bad.groups.push(String::new());
        assert!(matches!(problem(&[bad]), Some(UserProblem::Name)));
    }

    #[tokio::test]
    async fn an_unknown_user_costs_what_a_wrong_secret_does() {
        let users = BuiltinUsers::new(&[user("alice", "sesame")]).unwrap();
        let loaded = users.users.load();
        assert_eq!(loaded.decoys[0].cost(), loaded.by_name["alice"].credential.cost());
        let wrong = fastest(&users, "alice").await;
        let unknown = fastest(&users, "carol").await;
        assert!(unknown > wrong / 2 && wrong > unknown / 2, "wrong {wrong:?}, unknown {unknown:?}");
    }

    #[tokio::test]
    async fn a_secret_that_was_proven_costs_nothing_for_a_minute() {
        let users = BuiltinUsers::new(&[user("alice", "sesame"), user("bob", "walnut")]).unwrap();
        assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
        assert_eq!(users.verify("bob", "wrong".into()).await, Verification::Wrong);
        // From now on whoever needs argon2 is told that it is busy.
        let occupied = users.workers.occupy();
        assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
        for (name, secret) in [("alice", "wrong"), ("bob", "wrong"), ("bob", "sesame"), ("carol", "sesame")] {
            assert_eq!(users.verify(name, secret.into()).await, Verification::Busy, "{name} {secret}");
        }
        users.users.load().by_name["alice"].proof.age(Duration::from_secs(59));
        assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
        users.users.load().by_name["alice"].proof.age(Duration::from_secs(1));
        assert_eq!(users.verify("alice", "sesame".into()).await, Verification::Busy, "using it does not prolong it");
        drop(occupied);
        assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
    }

    #[tokio::test]
    async fn a_changed_configuration_has_all_secrets_proven_anew() {
        let (alice, other) = (user("alice", "sesame"), user("alice", "walnut"));
        let users = BuiltinUsers::new(std::slice::from_ref(&alice)).unwrap();
        for next in [alice, other] {
            assert!(matches!(users.verify("alice", "sesame".into()).await, Verification::Verified(_)));
            users.replace(&[next]).unwrap();
            let _occupied = users.workers.occupy();
            assert_eq!(users.verify("alice", "sesame".into()).await, Verification::Busy);
        }
        assert_eq!(users.verify("alice", "sesame".into()).await, Verification::Wrong);
    }

    #[tokio::test]
    async fn those_who_come_at_once_with_the_same_secret_share_its_verification() {
        let users = Arc::new(BuiltinUsers::new(&[user("alice", "sesame")]).unwrap());
        // Far more than there is room for.
        let crowd = |name: &'static str, secret: &'static str| {
            let users = Arc::clone(&users);
            let each = (0..500).map(move |_| {
                let users = Arc::clone(&users);
                async move { users.verify(name, secret.into()).await }
            });
            each.collect::<tokio::task::JoinSet<_>>().join_all()
        };
        let right = crowd("alice", "sesame").await;
        assert!(right.iter().all(|answer| matches!(answer, Verification::Verified(_))));
        for (name, secret) in [("alice", "wrong"), ("carol", "sesame")] {
            assert!(crowd(name, secret).await.iter().all(|answer| *answer == Verification::Wrong), "{name}");
        }
    }

    async fn fastest(users: &BuiltinUsers, name: &str) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(users.verify(name, "wrong".into()).await, Verification::Wrong);
            best = best.min(start.elapsed());
        }
        best
    }
}
