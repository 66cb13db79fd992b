//! A gate that lets everybody in, since only a gate gives permits.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use secrecy::SecretString;
use sluicegate_core::{
    Access, AccessParts, Approvals, Authenticator, Command, DigestKey, Directory, Gate, GateParts, GatedSession, Hello,
    Identity, Logins, Principal, Rules, SessionPermit, TargetAccess, Verification,
    approvals::ApprovalLimits,
    policy::{Flight, PolicyEngine, PolicySession, ResultRuling, RowsRuling, Ruling},
    record::{Appended, Entry, RecordFuture, Recorder, Recording},
};

/// A permit for `user`, whose client calls itself `application`.
pub async fn permit(user: &str, application: &str) -> (SessionPermit, GatedSession) {
    let open = Arc::new(Open);
    let approvals = Approvals::new(ApprovalLimits::default(), open.clone(), None, DigestKey::derive(&[7; 32]));
    let (directory, recorder, tickets) = (open.clone(), open.clone(), Arc::default());
    let access = Access::new(AccessParts { directory, tickets, approvals: approvals.clone(), recorder });
    let gate = Gate::new(GateParts {
        access: access.clone(),
        logins: Arc::new(Logins::new(open.clone())),
        policies: open.clone(),
        recorder: open.clone(),
        recording: Recording::Ordered,
        max_output: 0,
        approvals,
    });
    let allow = vec![Principal::User(user.to_owned())];
    let target = TargetAccess { protocol: "postgres", allow, ..TargetAccess::default() };
    access.set_rules(Rules { targets: HashMap::from([("orders".to_owned(), target)]), roles: Vec::new() });
    let hello = Hello {
        protocol: "postgres",
        user: user.to_owned(),
        target: "orders".to_owned(),
        client: "127.0.0.1:1".parse().unwrap(),
        application: application.to_owned(),
    };
    gate.admit(hello, SecretString::from("x")).await.unwrap()
}

struct Open;

impl Directory for Open {
    fn standing(&self, identity: &Identity, _: u64) -> Option<Identity> {
        Some(identity.clone())
    }

    fn called(&self, _: &str) -> Option<(Identity, u64)> {
        None
    }
}

impl Authenticator for Open {
    fn verify<'a>(
        &'a self,
        user: &'a str,
        _secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        Box::pin(async move { Verification::Verified(Identity::builtin(user, Vec::new()).into()) })
    }
}

impl Recorder for Open {
    fn append(&self, _entry: Entry) -> Appended<'_> {
        Appended::Later(Box::pin(async { Ok(()) }))
    }

    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(async { Ok(()) })
    }
}

impl PolicyEngine for Open {
    fn open(&self, _session: Arc<sluicegate_core::Session>) -> Box<dyn PolicySession> {
        Box::new(Open)
    }
}

impl PolicySession for Open {
    fn decides_commands(&self) -> bool {
        false
    }

    fn generation(&self) -> u64 {
        0
    }

    fn is_outdated(&self) -> bool {
        false
    }

    fn may_mask(&self) -> bool {
        false
    }

    fn governing(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn opened(&mut self) -> Ruling {
        Ruling::default()
    }

    fn command(&mut self, _sequence: u64, _command: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
        (Ruling::default(), Box::new(Open))
    }

    fn closed(&mut self) {}
}

impl Flight for Open {
    fn sees_results(&self) -> bool {
        false
    }

    fn result(&mut self, _schema: &Arc<sluicegate_core::ResultSchema>) -> ResultRuling {
        ResultRuling::default()
    }

    fn rows(&mut self, _batch: &Arc<sluicegate_core::Batch>) -> RowsRuling {
        RowsRuling::default()
    }
}
