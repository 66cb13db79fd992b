//! What a name stands for when the server comes to the message that uses it: the newest answer that is
//! still to come counts, then what is confirmed.

use std::sync::Arc;

use super::{
    Machine,
    expect::Expect,
    objects::{Portal, Prepared},
};
use crate::codec::message::ObjectKind;

/// A name looked up among what the server confirmed and what it is about to.
pub(super) enum Found<T> {
    Yes(T),
    No,
    /// It was made in an earlier segment, whose answer is still to come.
    Later,
}

impl Machine {
    /// The statement that a Bind names, newest first.
    pub(super) fn find_statement(&self, wanted: &str) -> Found<Arc<Prepared>> {
        for expect in self.waiting.iter().rev() {
            match expect {
                Expect::Parse { name, prepared, segment, .. } if name == wanted => {
                    return if *segment == self.segment { Found::Yes(Arc::clone(prepared)) } else { Found::Later };
                }
                Expect::Close { kind: ObjectKind::Statement, name, segment } if name == wanted => {
                    return if *segment == self.segment { Found::No } else { Found::Later };
                }
                // A Query drops the unnamed statement.
                Expect::Query(_) if wanted.is_empty() => return Found::Later,
                _ => {}
            }
        }
        match self.objects.statement(wanted) {
            Some(prepared) => Found::Yes(Arc::clone(prepared)),
            None => Found::No,
        }
    }

    pub(super) fn find_portal(&mut self, wanted: &str) -> Found<()> {
        for expect in self.waiting.iter().rev() {
            match expect {
                Expect::Execute(run) if run.portal == wanted => return Found::Later,
                Expect::Bind { portal, segment } if portal.name == wanted => {
                    return if *segment == self.segment { Found::Yes(()) } else { Found::Later };
                }
                Expect::Close { kind: ObjectKind::Portal, name, segment } if name == wanted => {
                    return if *segment == self.segment { Found::No } else { Found::Later };
                }
                Expect::Sync { .. } | Expect::Query(_) | Expect::Function(_) => return Found::Later,
                _ => {}
            }
        }
        if self.objects.portal(wanted).is_some() { Found::Yes(()) } else { Found::No }
    }

    /// The portal that the next Execute of that name runs: the newest Bind still waiting, else the
    /// confirmed one.
    pub(super) fn pending_portal(&mut self, wanted: &str) -> Option<&mut Portal> {
        let bound = self.waiting.iter_mut().rev().find_map(|expect| match expect {
            Expect::Bind { portal, .. } if portal.name == wanted => Some(&mut **portal),
            _ => None,
        });
        match bound {
            Some(portal) => Some(portal),
            None => self.objects.portal(wanted),
        }
    }
}
