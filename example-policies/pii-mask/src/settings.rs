//! The settings of a binding; `settings.schema.json` says what they mean.

use serde::Deserialize;
use sluicegate_policy::{ColumnGlob, ColumnName, Mask, Session, host};

use crate::scan::Kind;

/// How many characters `partial` leaves.
pub(crate) const KEPT: u32 = 4;

/// What is masked, how, and for whom not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Columns that are masked.
    pub columns: Vec<ColumnGlob>,
    /// What is looked for in the values of other columns.
    pub detect: Vec<Kind>,
    /// How values are masked.
    pub style: Style,
    /// Groups, and roles as `role:NAME`, that see clear values.
    pub except: Vec<String>,
}

/// How values are masked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// A fixed value that tells nothing.
    #[default]
    Redact,
    /// The last four characters stay.
    Partial,
    /// A keyed hash: equal values stay equal.
    Hash,
    /// SQL NULL.
    Null,
}

impl Settings {
    /// Refuses settings that look as if they did something and do not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.columns.is_empty() && self.detect.is_empty() {
            return Err(
                "`columns` and `detect` are both empty, so nothing would be masked; name something in one".into()
            );
        }
        match self.except.iter().find(|name| name.starts_with("user:")) {
            Some(name) => {
                Err(format!("`except` takes groups and roles, and `{name}` is a user; give the user a group"))
            }
            None => Ok(()),
        }
    }

    /// Which entry of `except` lets the caller see clear values. Groups may be written `admin` or
    /// `group:admin`, roles are written `role:unmasked`.
    pub(crate) fn exception(&self, session: &Session) -> Option<usize> {
        self.except.iter().position(|name| match name.strip_prefix("role:") {
            Some(role) => session.has_role(role),
            None => session.has_group(name.strip_prefix("group:").unwrap_or(name)),
        })
    }
}

/// Which entry of `columns` masks this one.
pub(crate) fn masked_by(columns: &[ColumnGlob], name: &ColumnName) -> Option<usize> {
    columns.iter().position(|glob| glob.matches(name))
}

/// Names the entry of `columns` that masks this one as the rule that is followed.
pub(crate) fn cite(columns: &[ColumnGlob], name: &ColumnName) {
    if let Some(index) = masked_by(columns, name) {
        host::cite(&format!("columns[{index}]"));
    }
}

impl Style {
    /// The mask of a column that is masked by its name.
    pub(crate) fn column_mask(self) -> Mask {
        match self {
            Self::Redact => Mask::Redact,
            Self::Partial => Mask::Partial(KEPT),
            Self::Hash => Mask::Hash,
            Self::Null => Mask::Null,
        }
    }

    /// The mask of a value that is nothing but a detected item. Of a secret nothing stays.
    pub(crate) fn item_mask(self, kind: Kind) -> Mask {
        match (self, kind) {
            (Self::Partial, kind) if kind.is_secret() => Mask::Redact,
            (Self::Partial, Kind::Email) => Mask::Email,
            (style, _) => style.column_mask(),
        }
    }

    /// The mask of a value that holds an item somewhere, and whose text cannot be rewritten: what
    /// its last characters are is not known, so none may stay.
    pub(crate) fn holder_mask(self) -> Mask {
        match self {
            Self::Partial => Mask::Redact,
            style => style.column_mask(),
        }
    }
}
