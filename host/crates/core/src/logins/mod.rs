//! Logins: the one place where secrets that come from the network are verified, so that nobody can guess
//! them at leisure. How many wrong ones there were, and what follows, is in [`tries`] for each user and network, and in
//! [`networks`] for each network.

mod networks;
mod tries;

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use secrecy::SecretString;
use tokio::sync::Notify;

use crate::{
    identity::{Authenticator, Proven, Verification},
    record,
};
use networks::Networks;
use tries::{Entrance, Outcome, Tries};

/// What came of a login.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// The secret is this identity's.
    Verified(Proven),
    /// It is not, or there is no such user.
    Wrong {
        /// How many further tries were refused unheard since the last that was verified.
        unheard: u64,
        /// What is wrong with a token; none for other secrets.
        why: Option<String>,
        /// Whether it needs a mention: of many that come from one network, some do, with the number of the others.
        told: bool,
    },
    /// It could not be verified now. Tells nothing about it.
    Busy {
        /// Whether it needs a mention, as above.
        told: bool,
    },
    /// There were too many wrong ones before it, so nobody looked at it. Tells nothing about it, nor
    /// whether there is such a user.
    Throttled {
        /// After so many seconds the next one is looked at.
        seconds: u64,
        /// Whether it is the first since the last that was verified: the others need no mention.
        first: bool,
    },
}

/// Verifies the secrets of logins. One serves every listener, so that all of them count together.
pub struct Logins {
    authenticator: Arc<dyn Authenticator>,
    counts: Mutex<Counts>,
    /// Somebody's secret is verified, for whoever waits for that.
    verified: Notify,
    /// Makes keys of names, which may be long, so that what is kept has one size and nobody outside can
    /// choose names that meet.
    keys: RandomState,
}

#[derive(Default)]
struct Counts {
    tries: Tries,
    networks: Networks,
    /// Those that were wrong, could not be guessed and are in the record.
    mentions: Networks,
}

/// Under what a try is counted.
#[derive(Clone, Copy)]
struct Keys {
    /// The user and the network.
    pair: u64,
    network: u64,
}

impl Counts {
    fn enter(&mut self, keys: Keys, now: Instant) -> Entrance {
        match self.networks.enter(keys.network, now) {
            Entrance::Open => {}
            not => return not,
        }
        let entrance = self.tries.enter(keys.pair, now);
        if entrance != Entrance::Open {
            self.networks.leave(keys.network, Outcome::Unknown);
        }
        entrance
    }

    fn leave(&mut self, keys: Keys, outcome: Outcome, now: Instant) -> (u32, u64) {
        let from_network = self.networks.leave(keys.network, outcome);
        let (wrong, unheard) = self.tries.leave(keys.pair, outcome, now);
        (wrong, unheard + from_network)
    }
}

impl Logins {
    /// Logins that this authenticator decides.
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        let keys = RandomState::new();
        Self { authenticator, counts: Mutex::default(), verified: Notify::new(), keys }
    }

    /// Whether `secret` is that of `user`, for a client at this address. May wait until other secrets of the
    /// same user from the same network are verified. Cancel-safe.
    pub async fn verify(&self, user: &str, secret: SecretString, from: IpAddr) -> Login {
        let network = network(from);
        if !self.authenticator.is_guessable(&secret) {
            return self.open(network, self.authenticator.verify(user, secret).await);
        }
        let keys = Keys { pair: self.keys.hash_one((user, network)), network: self.keys.hash_one(network) };
        self.guarded(keys, network, || self.authenticator.verify(user, secret)).await
    }

    /// Whose token this is, for a client at this address; none for the gateway's owner. Cancel-safe.
    pub async fn verify_token(&self, token: SecretString, from: Option<IpAddr>) -> Login {
        let verification = self.authenticator.verify_token(token).await;
        match from {
            Some(from) => self.open(network(from), verification),
            None => unguarded(verification),
        }
    }

    /// The same as [`Self::verify`] for the gateway's owner, who could read the secrets' hashes anyway.
    pub async fn verify_for_owner(&self, user: &str, secret: SecretString) -> Login {
        unguarded(self.authenticator.verify(user, secret).await)
    }

    /// What came of a secret that nobody could come upon by trying. It is always looked at, so that whoever tries keeps
    /// nobody else out; only how often a wrong one is mentioned has a bound.
    fn open(&self, network: IpAddr, verification: Verification) -> Login {
        let login = unguarded(verification);
        if matches!(login, Login::Verified(_)) {
            return login;
        }
        let key = self.keys.hash_one(network);
        let mut counts = self.counts();
        let told = counts.mentions.enter(key, Instant::now()) == Entrance::Open;
        let unheard = if told { counts.mentions.leave(key, Outcome::Wrong) } else { 0 };
        match login {
            Login::Wrong { why, .. } => Login::Wrong { unheard, why, told },
            Login::Busy { .. } => Login::Busy { told },
            other => other,
        }
    }

    /// Verifies unless there were too many wrong ones under these keys.
    async fn guarded<'a, F>(&self, keys: Keys, network: IpAddr, verify: impl FnOnce() -> F) -> Login
    where
        F: Future<Output = Verification> + 'a,
    {
        loop {
            // Made before it is known whether to wait, so that nothing is missed in between.
            let verified = self.verified.notified();
            match self.counts().enter(keys, Instant::now()) {
                Entrance::Open => break,
                Entrance::Wait => {}
                Entrance::Closed { wait, first } => return Login::Throttled { seconds: seconds(wait), first },
            }
            verified.await;
        }
        let attempt = Attempt { logins: self, keys: Some(keys) };
        match verify().await {
            Verification::Verified(proven) => {
                let (wrong, unheard) = attempt.end(Outcome::Right);
                if wrong >= tries::FREE {
                    let (user, _) = record::cut(&proven.identity.user, 128);
                    tracing::warn!(user, %network, wrong, unheard, "a login succeeded after many wrong secrets");
                }
                Login::Verified(proven)
            }
            Verification::Wrong => Login::Wrong { unheard: attempt.end(Outcome::Wrong).1, why: None, told: true },
            Verification::Rejected(why) => {
                Login::Wrong { unheard: attempt.end(Outcome::Wrong).1, why: Some(why), told: true }
            }
            Verification::Busy => {
                attempt.end(Outcome::Unknown);
                Login::Busy { told: true }
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A secret that is being verified. Dropped before its end, it counts as one that nobody knows the
/// outcome of.
struct Attempt<'a> {
    logins: &'a Logins,
    /// None once its outcome is known.
    keys: Option<Keys>,
}

impl Attempt<'_> {
    /// Returns how many wrong ones there were before, and how many were refused unheard.
    fn end(mut self, outcome: Outcome) -> (u32, u64) {
        self.leave(outcome)
    }

    fn leave(&mut self, outcome: Outcome) -> (u32, u64) {
        let Some(keys) = self.keys.take() else { return (0, 0) };
        let counted = self.logins.counts().leave(keys, outcome, Instant::now());
        self.logins.verified.notify_waiters();
        counted
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.leave(Outcome::Unknown);
    }
}

/// What a verification comes to by itself.
fn unguarded(verification: Verification) -> Login {
    match verification {
        Verification::Verified(proven) => Login::Verified(proven),
        Verification::Wrong => Login::Wrong { unheard: 0, why: None, told: true },
        Verification::Rejected(why) => Login::Wrong { unheard: 0, why: Some(why), told: true },
        Verification::Busy => Login::Busy { told: true },
    }
}

/// Whole seconds, none too few.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What one party commonly has: an IPv4 address, or the /64 of an IPv6 address.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::identity::Identity;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Knows alice by the secret `sesame`, and counts what it is asked.
    #[derive(Default)]
    struct Door {
        asked: AtomicU32,
        inside: AtomicU32,
        most: AtomicU32,
    }

    impl Authenticator for Door {
        fn verify<'a>(
            &'a self,
            user: &'a str,
            secret: SecretString,
        ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
            use secrecy::ExposeSecret;
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::SeqCst);
                self.most.fetch_max(self.inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                self.inside.fetch_sub(1, Ordering::SeqCst);
                match (user, secret.expose_secret()) {
                    ("alice", "sesame") => Verification::Verified(Identity::builtin(user, Vec::new()).into()),
                    (_, "slow") => std::future::pending().await,
                    _ => Verification::Wrong,
                }
            })
        }
    }

    fn stage() -> (Arc<Door>, Arc<Logins>) {
        let door = Arc::new(Door::default());
        (Arc::clone(&door), Arc::new(Logins::new(door)))
    }

    async fn at_once(logins: &Arc<Logins>, user: &'static str, secret: &'static str, count: usize) -> Vec<Login> {
        let tries: Vec<_> = (0..count)
            .map(|_| {
                let logins = Arc::clone(logins);
                tokio::spawn(async move { logins.verify(user, secret.into(), HERE).await })
            })
            .collect();
        let mut all = Vec::new();
        for login in tries {
            all.push(login.await.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn guesses_that_come_all_at_once_are_no_more_than_those_that_come_in_turn() {
        for user in ["alice", "mallory"] {
            let (door, logins) = stage();
            let answers = at_once(&logins, user, "guess", 300).await;
            assert_eq!(door.asked.load(Ordering::SeqCst), tries::FREE, "{user}");
            let throttled = answers.iter().filter(|login| matches!(login, Login::Throttled { .. })).count();
            let first = answers.iter().filter(|login| matches!(login, Login::Throttled { first: true, .. })).count();
            assert_eq!((throttled, first), (295, 1), "{user}");
        }
    }

    #[tokio::test]
    async fn one_secret_tried_on_many_names_is_not_tried_for_ever() {
        let (door, logins) = stage();
        for n in 0..300 {
            logins.verify(&format!("user{n}"), "guess".into(), HERE).await;
        }
        assert_eq!(door.asked.load(Ordering::SeqCst), networks::FREE);
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert!(matches!(logins.verify("alice", "sesame".into(), elsewhere).await, Login::Verified(_)));
    }

    /// Knows alice by a token, and nobody else.
    struct Tokens;

    impl Authenticator for Tokens {
        fn is_guessable(&self, _: &SecretString) -> bool {
            false
        }
        fn verify<'a>(
            &'a self,
            user: &'a str,
            _: SecretString,
        ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
            Box::pin(async move {
                match user {
                    "alice" => Verification::Verified(Identity::builtin(user, Vec::new()).into()),
                    "busy" => Verification::Busy,
                    _ => Verification::Rejected("no".to_owned()),
                }
            })
        }
    }

    #[tokio::test]
    async fn what_cannot_be_guessed_is_always_looked_at_and_mentioned_within_bounds() {
        let logins = Logins::new(Arc::new(Tokens));
        let mut mentioned = 0;
        for n in 0..1000 {
            let login = logins.verify(&format!("user{n}"), "token".into(), HERE).await;
            let Login::Wrong { told, .. } = login else { panic!("{login:?}") };
            mentioned += u32::from(told);
        }
        assert_eq!(mentioned, networks::FREE);
        assert_eq!(logins.verify("busy", "token".into(), HERE).await, Login::Busy { told: false });
        assert!(matches!(logins.verify("alice", "token".into(), HERE).await, Login::Verified(_)));
    }

    #[tokio::test]
    async fn the_right_secret_is_never_refused_for_coming_often() {
        let (door, logins) = stage();
        let answers = at_once(&logins, "alice", "sesame", 300).await;
        assert!(answers.iter().all(|login| matches!(login, Login::Verified(_))));
        assert!(door.most.load(Ordering::SeqCst) <= tries::FREE);
    }

    #[tokio::test]
    async fn guesses_from_one_place_keep_nobody_out_elsewhere() {
        let (_, logins) = stage();
        at_once(&logins, "alice", "guess", 10).await;
        let throttled = logins.verify("alice", "sesame".into(), HERE).await;
        assert!(matches!(throttled, Login::Throttled { .. }), "the right one is not told from a wrong one");
        let elsewhere = "2001:db8:1:2::3".parse().unwrap();
        assert!(matches!(logins.verify("alice", "sesame".into(), elsewhere).await, Login::Verified(_)));
        assert!(matches!(logins.verify_for_owner("alice", "sesame".into()).await, Login::Verified(_)));
    }

    #[tokio::test]
    async fn wrong_tokens_keep_nobody_out() {
        let (_, logins) = stage();
        for _ in 0..2 * networks::FREE {
            let login = logins.verify_token("a.b.c".into(), Some(HERE)).await;
            assert!(matches!(login, Login::Wrong { why: Some(_), .. }), "{login:?}");
        }
        assert!(matches!(logins.verify("alice", "sesame".into(), HERE).await, Login::Verified(_)));
        assert!(matches!(logins.verify("", "sesame".into(), HERE).await, Login::Wrong { .. }), "an empty name is one");
        assert!(matches!(logins.verify_token("a.b.c".into(), None).await, Login::Wrong { told: true, .. }));
    }

    #[tokio::test]
    async fn tries_that_are_given_up_leave_their_places() {
        let (_, logins) = stage();
        for _ in 0..20 {
            let slow = logins.verify("alice", "slow".into(), HERE);
            assert!(tokio::time::timeout(Duration::from_millis(1), slow).await.is_err());
        }
        assert!(matches!(logins.verify("alice", "sesame".into(), HERE).await, Login::Verified(_)));
    }

    #[test]
    fn a_network_is_what_one_party_has() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
