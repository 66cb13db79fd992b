//! What may be shown of a message that the server wrote while it ran.

/// Messages of `src/backend`, each `%` a name. Such a message may be shown whole if its names are
/// known to the client. Its other words are compared literally, so that a value which holds quotes
/// cannot pass itself off as a part of the message.
const TEMPLATES: &[&str] = &[
    "relation \"%\" does not exist",
    "table \"%\" does not exist",
    "view \"%\" does not exist",
    "materialized view \"%\" does not exist",
    "sequence \"%\" does not exist",
    "index \"%\" does not exist",
    "type \"%\" does not exist",
    "schema \"%\" does not exist",
    "database \"%\" does not exist",
    "role \"%\" does not exist",
    "extension \"%\" does not exist",
    "collation \"%\" does not exist",
    "function \"%\" does not exist",
    "cursor \"%\" does not exist",
    "savepoint \"%\" does not exist",
    "prepared statement \"%\" does not exist",
    "prepared statement \"%\" already exists",
    "portal \"%\" does not exist",
    "unrecognized configuration parameter \"%\"",
    "parameter \"%\" cannot be changed without restarting the server",
    "permission denied to set parameter \"%\"",
    "column \"%\" does not exist",
    "column \"%\" of relation \"%\" does not exist",
    "column \"%\" of relation \"%\" already exists",
    "constraint \"%\" of relation \"%\" does not exist",
    "constraint \"%\" for relation \"%\" already exists",
    "trigger \"%\" for table \"%\" does not exist",
    "relation \"%\" already exists",
    "type \"%\" already exists",
    "schema \"%\" already exists",
    "role \"%\" already exists",
    "extension \"%\" already exists",
    "cursor \"%\" already exists",
    "table \"%\" does not exist, skipping",
    "view \"%\" does not exist, skipping",
    "index \"%\" does not exist, skipping",
    "sequence \"%\" does not exist, skipping",
    "schema \"%\" does not exist, skipping",
    "type \"%\" does not exist, skipping",
    "extension \"%\" does not exist, skipping",
    "role \"%\" does not exist, skipping",
    "relation \"%\" does not exist, skipping",
    "relation \"%\" already exists, skipping",
    "schema \"%\" already exists, skipping",
    "extension \"%\" already exists, skipping",
    "\"%\" is not a table",
    "\"%\" is not a view",
    "\"%\" is not an index",
    "\"%\" is not a sequence",
    "must be owner of table %",
    "must be owner of view %",
    "must be owner of schema %",
    "permission denied for table %",
    "permission denied for view %",
    "permission denied for sequence %",
    "permission denied for schema %",
    "permission denied for database %",
    "permission denied for function %",
    "could not obtain lock on row in relation \"%\"",
    "could not obtain lock on relation \"%\"",
    "duplicate key value violates unique constraint \"%\"",
    "conflicting key value violates exclusion constraint \"%\"",
    "null value in column \"%\" of relation \"%\" violates not-null constraint",
    "new row for relation \"%\" violates check constraint \"%\"",
    "insert or update on table \"%\" violates foreign key constraint \"%\"",
    "update or delete on table \"%\" violates foreign key constraint \"%\" on table \"%\"",
    "value for domain % violates check constraint \"%\"",
    "domain % does not allow null values",
    "cannot drop table % because other objects depend on it",
    "cannot drop view % because other objects depend on it",
    "cannot drop column % of table % because other objects depend on it",
];

/// Whether the message is one of the server's whose every name is known.
pub(super) fn repeats_only(message: &str, knows: impl Fn(&str) -> bool) -> bool {
    TEMPLATES.iter().any(|template| fits(message, template, &knows))
}

fn fits(message: &str, template: &str, knows: &impl Fn(&str) -> bool) -> bool {
    let Some((literal, template)) = template.split_once('%') else { return message == template };
    let Some(message) = message.strip_prefix(literal) else { return false };
    let next = template.split('%').next().unwrap_or_default();
    // A name ends where the words that follow it begin.
    let end = if next.is_empty() { Some(message.len()) } else { message.find(next) };
    let Some((name, rest)) = end.and_then(|end| message.split_at_checked(end)) else { return false };
    !name.contains('"') && knows(name) && fits(rest, template, knows)
}

/// Whether `text` holds `name` as a word of its own, in any case, quoted or not.
pub(super) fn says(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if name.is_empty() || !name.chars().all(|c| is_part(c) || c == '.') {
        return false;
    }
    let (text, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    text.match_indices(&name).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// The message with `...` instead of everything that may be a value. The server puts values between
/// quotes or brackets, behind a colon, or writes numbers; a value may itself hold such marks, so all
/// from the first mark to the last goes, and everything behind a colon.
pub(super) fn without_values(message: &str) -> String {
    let (head, has_tail) = match message.find([':', '：']) {
        Some(at) => (message.get(..at).unwrap_or_default(), true),
        None => (message, false),
    };
    let is_plain = |c: char| c.is_alphabetic() || " -_,.;/".contains(c);
    let first = head.find(|c| !is_plain(c));
    let Some(first) = first else {
        return if has_tail { format!("{head}: ...") } else { head.to_owned() };
    };
    let before = head.get(..first).unwrap_or_default();
    // The word that the mark stands in goes as a whole.
    let before = before.get(..before.rfind(' ').map_or(0, |at| at + 1)).unwrap_or_default();
    if has_tail {
        // The colon may be inside of a value.
        return format!("{before}...");
    }
    let after = head.rfind(|c| !is_plain(c)).and_then(|last| head.get(last..)).unwrap_or_default();
    let after = after.find(' ').and_then(|at| after.get(at..)).unwrap_or_default();
    format!("{before}...{after}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_go_and_words_stay() {
        for (message, expected) in [
            ("division by zero", "division by zero"),
            ("value \"99\" is out of range for type integer", "value ... is out of range for type integer"),
            ("date field value out of range: 2024-13-01", "date field value out of range: ..."),
            ("type \"x: y\" is secret", "type ..."),
            ("Wert »a« ist ungültig", "Wert ... ist ungültig"),
            ("Ungültige Eingabe：秘密", "Ungültige Eingabe: ..."),
            ("function bob(secret) does not exist", "function ... does not exist"),
            ("row (a\" secret) in \"t\" is bad", "row ... is bad"),
            ("id 7 of 9", "id ..."),
            ("\"secret", "..."),
        ] {
            assert_eq!(without_values(message), expected, "{message}");
        }
    }

    #[test]
    fn only_known_names_in_the_servers_own_words_are_repeated() {
        let knows = |name: &str| name == "users";
        assert!(repeats_only("relation \"users\" does not exist", knows));
        assert!(repeats_only("permission denied for table users", knows));
        assert!(!repeats_only("relation \"secret\" does not exist", knows));
        assert!(!repeats_only("relation \"users\" secret \"users\" does not exist", knows));
        assert!(!repeats_only("relation \"users\" does not exist: secret", knows));
        let update = "update or delete on table \"users\" violates foreign key constraint \"%\" on table \"users\"";
        assert!(repeats_only(&update.replace('%', "users"), knows));
        assert!(!repeats_only(&update.replace('%', "secret"), knows));
    }

    #[test]
    fn a_name_is_a_word_of_the_query() {
        assert!(says("DROP TABLE Public.Users;", "users"));
        assert!(says("drop table \"users\"", "users"));
        assert!(says("drop table public.users", "public.users"));
        assert!(!says("drop table users2", "users"));
        assert!(!says("drop table my_users", "users"));
        assert!(!says("select ''", ""));
        assert!(!says("a b", "a b"));
    }

    proptest! {
        #[test]
        fn nothing_between_marks_is_shown(
            before in "[a-z ]{0,20}", value in any::<String>(), after in "[a-z ]{0,20}",
            marks in prop::sample::select(vec![('"', '"'), ('(', ')'), ('»', '«'), ('„', '“')])
        ) {
            let secret = format!("SECRET{value}SECRET");
            let shown = without_values(&format!("{before} {}{secret}{} {after}", marks.0, marks.1));
            prop_assert!(!shown.contains("SECRET"), "{}", shown);
        }
    }
}
