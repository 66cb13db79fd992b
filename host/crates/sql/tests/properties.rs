//! Properties that hold for every text: reading never panics, normalising twice is normalising once,
//! and texts that normalise alike have the same facts.

mod common;

use common::World;
use proptest::prelude::*;

/// Pieces of SQL, so that random texts are often almost right.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "select",
        "from",
        "people",
        "orders",
        "p",
        "ssn",
        "id",
        "*",
        ",",
        "(",
        ")",
        "[",
        "]",
        ".",
        ";",
        "::",
        ":=",
        "=",
        "<>",
        "||",
        "-",
        "--",
        "/*",
        "*/",
        "\n",
        "'a'",
        "'a''b'",
        "'",
        "E'\\''",
        "$$a$$",
        "$b$x$b$",
        "$1",
        "1",
        "1.5e3",
        ".5",
        "\"ssn\"",
        "\"a\"\"b\"",
        "where",
        "and",
        "not",
        "case",
        "when",
        "end",
        "then",
        "union",
        "with",
        "as",
        "in",
        "exists",
        "join",
        "on",
        "using",
        "natural",
        "lateral",
        "values",
        "insert into",
        "update",
        "set",
        "delete from",
        "returning",
        "copy",
        "to stdout",
        "from stdin",
        "prepare",
        "execute",
        "declare",
        "cursor for",
        "fetch",
        "explain",
        "create table",
        "create view",
        "drop",
        "alter table",
        "grant",
        "only",
        "operator(pg_catalog.=)",
        "lower(",
        "count(*)",
        "leak(",
        "now()",
        "begin atomic",
        "cast(",
        "interval",
        "array[",
        "over (",
        "order by",
        "group by",
        "limit",
        "é",
        "\u{0}",
        "merge into",
        "table",
        "null",
        "?",
    ];
    prop_oneof![
        8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    (proptest::collection::vec(piece(), 0..24), any::<bool>())
        .prop_map(|(pieces, spaced)| pieces.join(if spaced { " " } else { "" }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_never_panics_and_failures_are_marked(text in text()) {
        let analysis = World::new().read(&text);
        let facts = &analysis.facts;
        prop_assert_eq!(facts.unanalysable.is_some(), facts.classes.contains(sluicegate_core::sql::Classes::UNANALYSABLE));
        prop_assert!(facts.unanalysable.is_none() || facts.reaches_unknown);
    }

    #[test]
    fn normalising_is_idempotent(text in text()) {
        let world = World::new();
        let once = world.read(&text).normalized.clone();
        prop_assert_eq!(&world.read(&once).normalized, &once);
    }

    #[test]
    fn literals_do_not_change_facts(
        pieces in proptest::collection::vec(piece(), 0..24),
        other in "[a-z;*()]{0,8}",
        number in 0_u32..1000,
    ) {
        let copy = pieces.iter().any(|piece| piece.contains("copy"));
        let first = pieces.join(" ");
        let second = first.replace("'a'", &format!("'{other}'")).replace(" 1 ", &format!(" {number} "));
        let (first, second) = (World::new().read(&first), World::new().read(&second));
        if !first.normalized.is_empty() && first.normalized == second.normalized && !copy {
            prop_assert_eq!(&first.facts, &second.facts);
        }
    }
}
