//! Whether what somebody said may come back in a result. Where masks apply, the record keeps no literals
//! and no parameters, and so none that a result repeats.

use sluicegate_sql::{Analysis, Statement};

/// Words behind which a query's literals choose rows and do not show in them. All are reserved.
const CHOOSING: [&str; 6] = ["where", "group", "having", "order", "limit", "offset"];
/// Words behind which other columns begin.
const BEGINNING: [&str; 4] = ["union", "intersect", "except", "returning"];

/// Whether columns that are not stored ones may repeat a literal, a parameter, or what was said earlier.
pub fn may_echo(analysis: &Analysis) -> bool {
    let text = &*analysis.normalized;
    let earlier = |s: &Statement| matches!(s.kind.as_str(), "execute" | "fetch" | "show");
    if text.is_empty() || analysis.statements.iter().any(earlier) {
        return true;
    }
    let query = matches!(&analysis.statements[..], [one] if one.kind == "select");
    text.contains(['?', '$']) && !(query && only_chooses(text))
}

/// Whether every literal and parameter of one query stands where it chooses rows.
fn only_chooses(normalized: &str) -> bool {
    let (mut depth, mut choosing, mut is_name) = (0_u32, false, false);
    let mut rest = normalized;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let size = match first {
            '?' | '$' if !choosing => return false,
            '"' => rest.get(1..).and_then(|inner| inner.find('"')).map_or(rest.len(), |end| end + 2),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let Some((token, after)) = rest.split_at_checked(size) else { return false };
        let is_one_of = |words: &[&str]| words.iter().any(|word| token.eq_ignore_ascii_case(word));
        if is_one_of(&BEGINNING) {
            return false;
        }
        // Behind AS and a dot any word is a name.
        choosing |= depth == 0 && !is_name && is_one_of(&CHOOSING);
        match first {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_name = is_one_of(&["as"]) || first == '.' || is_name && first.is_whitespace();
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_that_only_choose_rows_are_told_from_those_that_show() {
        for text in [
            "SELECT count(*) FROM t WHERE a = ? AND b IN (SELECT c FROM d WHERE e = $1)",
            "select max(a) from t limit ?",
            "with x as (select b from t) select upper(b) from x order by ?",
        ] {
            assert!(only_chooses(text), "{text}");
        }
        for text in [
            "select ? from t where a = 1",
            "select count(*) from (select ? as x where true) s where x = ?",
            "select a as where, ? from t",
            "select t.limit, ? from t",
            "select \" where \", ? from t",
            "select a from t where b = ? union select ?",
            "select $1 where true",
        ] {
            assert!(!only_chooses(text), "{text}");
        }
    }
}
