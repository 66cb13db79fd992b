//! What needs several sections of the file to be seen. All of it can be asked only of a text without
//! errors.

use std::{net::SocketAddr, ops::Range};

use sluicegate_core::{Principal, identity::Kind};
use sluicegate_identity::{Issuer, User};

use super::{Admin, Listen, Target, parse::Reader, report::Problem, roles::ReadRole};

/// Targets, each with the places of its `allow` rules.
type Targets = [(Target, Vec<Range<usize>>)];

/// Who may be somebody.
pub(super) struct Callers<'a> {
    pub users: &'a [User],
    pub issuers: &'a [Issuer],
}

impl Reader<'_> {
    pub(super) fn cross_check(
        &mut self,
        callers: &Callers<'_>,
        roles: &[ReadRole],
        targets: &Targets,
        listen: &[Listen],
        admin: Option<&Admin>,
    ) {
        self.prefixes(callers);
        self.owners(callers);
        if callers.users.is_empty() && callers.issuers.is_empty() {
            let problem = Problem::warning("there are no users, so nobody can sign in");
            self.report.push(problem.help("add `[[identity.user]]` with `name`, `groups` and `secret_hash`"));
        }
        if targets.is_empty() {
            let problem = Problem::warning("there are no targets, so there is nothing to reach");
            self.report.push(problem.help("add `[[target]]` with `name`, `protocol`, `address` and `allow`"));
        }
        if let Some(admin) = admin {
            self.admins(admin, callers);
        }
        for role in roles {
            self.role_is_of_use(role, targets, callers, admin.is_some_and(|admin| !admin.admins.is_empty()));
        }
        for (target, allow_at) in targets {
            self.reachable(target, allow_at, roles, callers, listen);
        }
        self.addresses(listen, admin);
    }

    /// What an issuer's prefix begins is that issuer's.
    fn prefixes(&mut self, callers: &Callers<'_>) {
        for issuer in callers.issuers.iter().filter(|issuer| !issuer.prefix.is_empty()) {
            let mut names = callers.users.iter().flat_map(|user| user.groups.iter().chain([&user.name]));
            if let Some(name) = names.find(|name| name.starts_with(&issuer.prefix)) {
                let (name, url) = (name.escape_debug(), issuer.url());
                let problem = format!("`{name}` is a name of built-in users that begins with the prefix of `{url}`");
                self.report.push(Problem::error(problem).help("give one of them another name"));
            }
        }
    }

    /// Somebody answers for each service and agent.
    fn owners(&mut self, callers: &Callers<'_>) {
        for user in callers.users {
            let Some(owner) = &user.owner else { continue };
            if callers.users.iter().any(|other| other.name == *owner && other.kind != Kind::Person) {
                let (name, owner) = (user.name.escape_debug(), owner.escape_debug());
                let problem = Problem::error(format!("`{owner}` is no person, and so cannot answer for `{name}`"));
                self.report.push(problem.help("name a person as its `owner`"));
                continue;
            }
            if let Some(nobody) = callers.lacks(&Principal::User(owner.clone())) {
                let name = user.name.escape_debug();
                self.report.push(Problem::warning(format!("{nobody}, so nobody answers for `{name}`")));
            }
        }
    }

    fn role_is_of_use(&mut self, read: &ReadRole, targets: &Targets, callers: &Callers<'_>, has_admins: bool) {
        let ReadRole { role, at, members_at, requesters_at, approvers_at } = read;
        let name = role.name.escape_debug();
        if !targets.iter().any(|(target, _)| role.is_for(&target.name, &target.labels)) {
            let problem = Problem::warning(format!("no target has the labels of the role `{name}`"));
            self.report.push(problem.at(at.clone()));
        }
        let asked = !role.requesters.is_empty();
        if asked && role.approvers.is_empty() && !has_admins {
            let problem =
                format!("nobody can grant the role `{name}`: it has no `approvers`, and the gateway no admins");
            self.report.push(
                Problem::warning(problem).at(at.clone()).help("add, for example, `approvers = [\"group:leads\"]`"),
            );
        }
        if !asked && !role.approvers.is_empty() {
            let problem = format!("nobody may ask for the role `{name}`, so there is nothing to approve");
            self.report.push(
                Problem::warning(problem).at(at.clone()).help("add, for example, `requesters = [\"group:oncall\"]`"),
            );
        }
        let members = role.members.iter().zip(members_at).map(|named| (named, "gives the role to nobody"));
        let requesters = role.requesters.iter().zip(requesters_at).map(|named| (named, "lets nobody ask for the role"));
        let approvers = role.approvers.iter().zip(approvers_at).map(|named| (named, "lets nobody grant the role"));
        for ((principal, at), so) in members.chain(requesters).chain(approvers) {
            if let Some(nobody) = callers.lacks(principal) {
                let problem = Problem::warning(format!("{nobody}, so `{principal}` {so}"));
                self.report.push(problem.at(at.clone()));
            }
        }
    }

    fn admins(&mut self, admin: &Admin, callers: &Callers<'_>) {
        if admin.admins.is_empty() {
            let problem =
                Problem::warning("nobody is an admin, so nobody can approve where a policy names no approvers");
            self.report.push(problem.at(admin.at.clone()).help("add, for example, `admins = [\"group:admin\"]`"));
        }
        for (principal, at) in admin.admins.iter().zip(&admin.admins_at) {
            if let Some(nobody) = callers.lacks(principal) {
                let problem = Problem::warning(format!("{nobody}, so `{principal}` makes nobody an admin"));
                self.report.push(problem.at(at.clone()));
            }
        }
        for (principal, at) in admin.scrapers.iter().zip(&admin.scrapers_at) {
            if let Some(nobody) = callers.lacks(principal) {
                let problem = Problem::warning(format!("{nobody}, so `{principal}` lets nobody scrape"));
                self.report.push(problem.at(at.clone()));
            }
        }
    }

    fn reachable(
        &mut self,
        target: &Target,
        allow_at: &[Range<usize>],
        roles: &[ReadRole],
        callers: &Callers<'_>,
        listen: &[Listen],
    ) {
        let name = target.name.escape_debug();
        let has_role = roles.iter().any(|read| read.role.is_for(&target.name, &target.labels));
        if target.allow.is_empty() && allow_at.is_empty() && !has_role {
            let problem = Problem::warning(format!("nobody can use the target `{name}`")).at(target.spans.name.clone());
            self.report.push(problem.help("add, for example, `allow = [\"group:engineering\"]`"));
        }
        for (principal, at) in target.allow.iter().zip(allow_at) {
            if let Some(nobody) = callers.lacks(principal) {
                let problem = Problem::warning(format!("{nobody}, so `{principal}` lets nobody in"));
                self.report.push(problem.at(at.clone()));
            }
        }
        if !listen.iter().any(|l| l.protocol.name == target.protocol.name) {
            let protocol = target.protocol.name;
            let problem = Problem::warning(format!("nothing listens for the protocol of the target `{name}`"));
            let help = format!("add `{protocol} = \"127.0.0.1:PORT\"` to [listen]");
            self.report.push(problem.at(target.spans.name.clone()).help(help));
        }
    }

    /// An address serves one thing. Port 0 is another one each time.
    fn addresses(&mut self, listen: &[Listen], admin: Option<&Admin>) {
        let protocols = listen.iter().map(|listen| (listen.protocol.name, listen.address, &listen.at));
        let admin = admin.map(|admin| ("the API of [admin]", admin.listen, &admin.listen_at));
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (what, address, at) in protocols.chain(admin).filter(|(_, address, _)| address.port() != 0) {
            if let Some((first, _)) = taken.iter().find(|(_, other)| *other == address) {
                let problem = Problem::error(format!("{what} cannot listen on {address}, because {first} does"));
                self.report.push(problem.at(at.clone()).help("choose another port for one of them"));
            }
            taken.push((what, address));
        }
    }
}

impl Callers<'_> {
    /// Why the principal is nobody; none where it is somebody, or an issuer may say that somebody is it.
    fn lacks(&self, principal: &Principal) -> Option<String> {
        // What begins with an issuer's prefix may be a name that it gives.
        let given = |name: &str| self.issuers.iter().any(|issuer| name.starts_with(&issuer.prefix));
        let groups = |name: &str| {
            self.issuers.iter().any(|issuer| issuer.groups_claim.is_some() && name.starts_with(&issuer.prefix))
        };
        match principal {
            Principal::User(name) if given(name) || self.users.iter().any(|user| user.name == *name) => None,
            Principal::Group(name) if groups(name) || self.users.iter().any(|user| user.groups.contains(name)) => None,
            Principal::User(name) => Some(format!("there is no user `{}`", name.escape_debug())),
            Principal::Group(name) => Some(format!("no user belongs to the group `{}`", name.escape_debug())),
            Principal::Issuer(url) if self.issuers.iter().any(|issuer| issuer.url() == url) => None,
            Principal::Issuer(url) => Some(format!("there is no `[[identity.oidc]]` of `{}`", url.escape_debug())),
            Principal::Subject(name) | Principal::Claim { name, .. } if given(name) => None,
            Principal::Subject(name) | Principal::Claim { name, .. } => Some(format!(
                "there is no `[[identity.oidc]]` with a `prefix` that `{}` begins with",
                name.escape_debug()
            )),
        }
    }
}
