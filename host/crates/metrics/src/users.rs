//! The names of users as labels, of which there is a bound: a series for each of many thousands of users
//! would make the scrape, and whoever stores it, slow.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::label::Text;

/// How many users are told apart: the first that sign in. All others are [`OTHER`].
pub const MAX_USERS: usize = 200;
/// What those beyond are counted as.
const OTHER: &str = "(other)";

/// The users that were seen since the start. Only those who were authenticated may be handed in.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<String, Text>>);

impl Users {
    /// The label of a user.
    pub(crate) fn label(&self, user: &str) -> Text {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = known.get(user) {
            return label.clone();
        }
        if known.len() >= MAX_USERS {
            return Text::from(OTHER);
        }
        let label = Text::from(user);
        known.insert(user.to_owned(), label.clone());
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_users_keep_their_names_and_the_rest_are_one() {
        let users = Users::default();
        for n in 0..MAX_USERS {
            let name = format!("u{n}");
            assert_eq!(users.label(&name), Text::from(&*name));
        }
        assert_eq!(users.label("late"), Text::from(OTHER));
        assert_eq!(users.label("u7"), Text::from("u7"));
    }
}
