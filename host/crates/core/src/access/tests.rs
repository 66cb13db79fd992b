//! The decision and the sessions that it holds, without a gateway around them.

use std::{collections::HashMap, sync::Mutex};

use super::*;
use crate::{
    DigestKey, Principal,
    approvals::ApprovalLimits,
    identity::{Basis, Kind},
    record::{Appended, Entry, RecordFuture},
};

#[derive(Default)]
struct Quiet;

impl Recorder for Quiet {
    fn append(&self, _: Entry) -> Appended<'_> {
        Appended::Now(Ok(()))
    }
    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(async { Ok(()) })
    }
}

/// Whoever is in it, is who it says; the life is always 1.
#[derive(Default)]
struct People(Mutex<HashMap<String, Identity>>);

impl Directory for People {
    fn standing(&self, identity: &Identity, life: u64) -> Option<Identity> {
        self.called(&identity.user).filter(|found| found.1 == life).map(|found| found.0)
    }
    fn called(&self, name: &str) -> Option<(Identity, u64)> {
        self.0.lock().unwrap().get(name).map(|identity| (identity.clone(), 1))
    }
}

struct Stage {
    access: Arc<Access>,
    people: Arc<People>,
}

const NAME: &str = "alice";

fn stage() -> Stage {
    let (people, recorder) = (Arc::new(People::default()), Arc::new(Quiet));
    let approvals = Approvals::new(ApprovalLimits::default(), recorder.clone(), None, DigestKey::derive(&[7; 32]));
    let access = Access::new(AccessParts { directory: people.clone(), tickets: Arc::default(), approvals, recorder });
    let stage = Stage { access, people };
    stage.is(alice(&["dba"]));
    stage.allow(&["group:dba"], Vec::new());
    stage
}

fn alice(groups: &[&str]) -> Identity {
    Identity::builtin(NAME, groups.iter().map(|group| (*group).to_owned()).collect())
}

fn role(name: &str) -> Role {
    let labels = [(NAME_LABEL.to_owned(), ANY.to_owned())].into();
    let members = vec![Principal::User(NAME.to_owned())];
    let (hours, requesters, approvers) = Default::default();
    let longest = Duration::from_secs(60);
    Role { name: name.to_owned(), labels, members, hours, requesters, approvers, min_approvals: 1, longest }
}

impl Stage {
    fn is(&self, identity: Identity) {
        self.people.0.lock().unwrap().insert(identity.user.clone(), identity);
    }

    fn allow(&self, principals: &[&str], roles: Vec<Role>) {
        let allow = principals.iter().map(|text| text.parse().unwrap()).collect();
        let target = TargetAccess { protocol: "test", allow, ..TargetAccess::default() };
        self.access.set_rules(Rules { targets: [("orders".to_owned(), target)].into(), roles });
    }

    fn proven(&self, ticket: Option<TicketId>) -> Proven {
        let identity = self.people.called(NAME).unwrap().0;
        Proven { identity, basis: Basis { life: 1, ticket, ..Basis::default() } }
    }

    /// A session that is about to take its place.
    fn session(&self, proven: &Proven) -> Arc<Session> {
        let roles = self.access.roles(proven, "orders", "test").unwrap();
        Arc::new(Session {
            id: SessionId(uuid::Uuid::now_v7()),
            identity: proven.identity.clone(),
            roles,
            ticket: proven.basis.ticket,
            target: "orders".into(),
            protocol: "test",
            client: ([127, 0, 0, 1], 1).into(),
            application: String::new(),
        })
    }

    fn seat(&self) -> Seat {
        let proven = self.proven(None);
        self.access.seat(&self.session(&proven), &proven).unwrap()
    }
}

#[test]
fn what_changes_between_the_decision_and_the_seat_is_seen() {
    let stage = stage();
    let proven = stage.proven(None);
    let session = stage.session(&proven);
    stage.allow(&["group:other"], Vec::new());
    assert_eq!(stage.access.seat(&session, &proven).err(), Some(Lost::Rules));
    stage.allow(&["group:dba"], Vec::new());
    stage.is(alice(&[]));
    assert_eq!(stage.access.seat(&session, &proven).err(), Some(Lost::Identity));
    assert!(stage.access.live().is_empty());
}

#[test]
fn a_session_goes_on_while_everything_it_rests_on_does() {
    let stage = stage();
    let seat = stage.seat();
    stage.is(alice(&["dba", "more"]));
    stage.allow(&["user:alice"], vec![role("new")]);
    assert_eq!(seat.standing().lost(), None, "more is no loss");
    stage.is(Identity { kind: Kind::Agent, ..alice(&["dba", "more"]) });
    stage.access.review();
    assert_eq!(seat.standing().lost(), Some(&Lost::Identity));
    drop(seat);
    assert!(stage.access.live().is_empty());
}

#[test]
fn a_role_that_policies_were_told_of_takes_the_session_with_it() {
    let stage = stage();
    stage.allow(&["user:alice"], vec![role("reader"), role("writer")]);
    let seat = stage.seat();
    stage.allow(&["user:alice"], vec![role("reader")]);
    assert_eq!(seat.standing().lost(), Some(&Lost::Role("writer".to_owned())));
    stage.allow(&["user:alice"], vec![role("reader"), role("writer")]);
    assert_eq!(seat.standing().lost(), Some(&Lost::Role("writer".to_owned())), "what is lost stays lost");
}

#[tokio::test]
async fn of_two_sessions_one_gets_the_only_use_of_a_ticket() {
    let stage = stage();
    let lifetime = Duration::from_secs(60);
    let order = TicketOrder { holder: None, target: "orders".to_owned(), once: true, lifetime };
    let (_, ticket) = stage.access.issue_ticket(&stage.proven(None), "here", &order).await.unwrap();
    let proven = stage.proven(Some(ticket.id));
    let (first, second) = (stage.session(&proven), stage.session(&proven));
    let seat = stage.access.seat(&first, &proven).unwrap();
    assert_eq!(stage.access.seat(&second, &proven).err(), Some(Lost::Ticket));
    assert_eq!(seat.standing().lost(), None);
    stage.access.revoke_ticket(ticket.id, &proven.identity, false, "here").await.unwrap();
    assert_eq!(seat.standing().until_lost().await, Lost::Ticket);
}

#[tokio::test]
async fn tickets_are_for_ones_own_and_within_bounds() {
    let stage = stage();
    stage.is(Identity {
        kind: Kind::Agent,
        owner: Some(NAME.to_owned()),
        ..Identity::builtin("bot", vec!["dba".into()])
    });
    stage.is(Identity {
        kind: Kind::Agent,
        owner: Some("eve".to_owned()),
        ..Identity::builtin("other", vec!["dba".into()])
    });
    let order = |holder: &str, target: &str, seconds| TicketOrder {
        holder: Some(holder.to_owned()),
        target: target.to_owned(),
        once: false,
        lifetime: Duration::from_secs(seconds),
    };
    let issue = async |proven: &Proven, order| {
        stage.access.issue_ticket(proven, "here", &order).await.map(|issued| issued.1.user)
    };
    let proven = stage.proven(None);
    assert_eq!(issue(&proven, order("bot", "orders", 60)).await.unwrap(), "bot");
    assert!(matches!(issue(&proven, order("other", "orders", 60)).await, Err(AccessError::NotOwner(_))));
    assert!(matches!(issue(&proven, order("nobody", "orders", 60)).await, Err(AccessError::NotOwner(_))));
    assert!(matches!(issue(&proven, order("bot", "stock", 60)).await, Err(AccessError::OthersTarget(..))));
    for seconds in [0, 59, 12 * 3600 + 1] {
        assert!(
            matches!(issue(&proven, order("bot", "orders", seconds)).await, Err(AccessError::Lifetime)),
            "{seconds}"
        );
    }
    let mut short = proven.clone();
    short.basis.expires_at = Some(record::now() + 90_000);
    let (_, ticket) = stage.access.issue_ticket(&short, "here", &order("bot", "orders", 600)).await.unwrap();
    assert_eq!(Some(ticket.expires_at), short.basis.expires_at, "it ends with what it was asked for with");
    let mut acting = proven.clone();
    acting.identity.actor = Some("assistant".to_owned());
    assert!(
        matches!(issue(&acting, order("bot", "orders", 60)).await, Err(AccessError::NotOwner(_))),
        "an agent is not its person"
    );
}

#[test]
fn one_person_is_one_under_whatever_name() {
    let token = |user: &str, subject: &str, actor: Option<&str>| Identity {
        actor: actor.map(str::to_owned),
        token: Some(Box::new(crate::identity::TokenFacts {
            issuer: "https://id.example.com".to_owned(),
            subject: subject.to_owned(),
            claims: Default::default(),
        })),
        ..Identity::builtin(user, Vec::new())
    };
    let owned =
        |name: &str, owner: &str| Identity { owner: Some(owner.to_owned()), ..Identity::builtin(name, Vec::new()) };
    let same = [
        (token("alice", "1", None), token("alicia", "1", None)),
        (token("bob", "2", Some("1")), token("alice", "1", None)),
        (token("bob", "2", Some("9")), token("carl", "3", Some("9"))),
        (owned("bot", "alice"), Identity::builtin("alice", Vec::new())),
        (owned("bot", "alice"), owned("other", "alice")),
        (owned("bot", "alice"), token("alice", "1", None)),
    ];
    for (one, other) in same {
        assert!(one.is_same_person(&other) && other.is_same_person(&one), "{one:?} {other:?}");
    }
    assert!(!token("alice", "1", Some("9")).is_same_person(&token("bob", "2", Some("8"))));
    assert!(!owned("bot", "alice").is_same_person(&owned("other", "bob")));
}
