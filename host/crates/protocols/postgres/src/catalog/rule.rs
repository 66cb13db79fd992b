//! What a view's rule says: where its columns come from, and what it reads and calls. The server
//! keeps the analysed query of a view in `pg_rewrite.ev_action`, as text, with the origin of each
//! output column as it reports it in a RowDescription. Reading it takes no locks and no rights,
//! while asking the server to describe the view's query waits for whoever alters a table of it.
//!
//! The text is nested `{NODE :label value ...}` and `(list)`. A backslash makes the next byte part of
//! a word (src/backend/nodes/read.c). What is not understood has no facts, so it is never trusted.

use sluicegate_sql::catalog::Oid;

/// The depth, counting brackets, of the fields of the outermost query and of its output columns:
/// `({QUERY .. :targetList ({TARGETENTRY .. })})`.
const QUERY_DEPTH: usize = 2;
const ENTRY_DEPTH: usize = 4;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    /// The view's attribute number, and the column that it shows unchanged.
    pub(super) origins: Vec<(i16, (Oid, i16))>,
    /// Every relation named anywhere in the query, the view itself possibly among them.
    pub(super) relations: Vec<Oid>,
    /// Every function called by name, and every aggregate and window function.
    pub(super) functions: Vec<Oid>,
    /// Every operator.
    pub(super) operators: Vec<Oid>,
}

/// Reads a rule; none where the text is not of the known form.
pub(super) fn read(text: &str) -> Option<Rule> {
    let mut rule = Rule::default();
    let mut targets = Targets::default();
    let mut depth = 0_usize;
    let mut before: &[u8] = b"";
    for word in Words(text.as_bytes()) {
        match word {
            b"(" | b"{" => {
                targets.open(depth, before)?;
                depth += 1;
            }
            b")" | b"}" => {
                depth = depth.checked_sub(1)?;
                targets.close(depth, &mut rule.origins)?;
            }
            _ => targets.word(depth, word)?,
        }
        match before {
            b":relid" => rule.relations.push(number(word)?),
            b":funcid" | b":aggfnoid" | b":winfnoid" | b":opfuncid" | b":tsmhandler" => {
                rule.functions.push(number(word)?)
            }
            b":opno" | b":eqop" | b":sortop" => rule.operators.push(number(word)?),
            _ => {}
        }
        before = word;
    }
    let complete = depth == 0 && targets.seen;
    for oids in [&mut rule.relations, &mut rule.functions, &mut rule.operators] {
        oids.retain(|oid| *oid != 0);
    }
    complete.then_some(rule)
}

/// Follows the outermost query's list of output columns.
#[derive(Default)]
struct Targets {
    inside: bool,
    seen: bool,
    entry: Option<Entry>,
}

#[derive(Default)]
struct Entry {
    named: bool,
    label: Option<&'static str>,
    resno: i16,
    table: Oid,
    column: i16,
    junk: bool,
}

impl Targets {
    fn open(&mut self, depth: usize, before: &[u8]) -> Option<()> {
        if depth == QUERY_DEPTH && before == b":targetList" {
            self.inside = true;
        } else if self.inside && depth + 1 == ENTRY_DEPTH {
            self.entry = Some(Entry::default());
        }
        Some(())
    }

    fn close(&mut self, depth: usize, origins: &mut Vec<(i16, (Oid, i16))>) -> Option<()> {
        match &mut self.entry {
            // A field's value was in brackets.
            Some(entry) if depth == ENTRY_DEPTH => entry.label = None,
            Some(_) if depth + 1 == ENTRY_DEPTH => {
                let entry = self.entry.take()?;
                self.seen = true;
                if entry.resno <= 0 {
                    return None;
                }
                if !entry.junk && entry.table != 0 && entry.column != 0 {
                    origins.push((entry.resno, (entry.table, entry.column)));
                }
            }
            _ if depth == QUERY_DEPTH => self.inside = false,
            _ => {}
        }
        Some(())
    }

    fn word(&mut self, depth: usize, word: &[u8]) -> Option<()> {
        match &mut self.entry {
            Some(entry) if depth == ENTRY_DEPTH => entry.word(word),
            _ => Some(()),
        }
    }
}

impl Entry {
    /// Labels and values strictly take turns here, so that no name chosen by a user passes for a label.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        if !self.named {
            self.named = true;
            return (word == b"TARGETENTRY").then_some(());
        }
        let Some(label) = self.label.take() else {
            let known = [":resno", ":resorigtbl", ":resorigcol", ":resjunk"];
            let label = known.into_iter().find(|known| known.as_bytes() == word);
            self.label = Some(label.unwrap_or(""));
            return word.starts_with(b":").then_some(());
        };
        match label {
            ":resno" => self.resno = number(word)?,
            ":resorigtbl" => self.table = number(word)?,
            ":resorigcol" => self.column = number(word)?,
            ":resjunk" => self.junk = word == b"true",
            _ => {}
        }
        Some(())
    }
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Brackets and words, escapes left in.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t');
        let start = self.0.iter().position(|byte| !is_space(byte))?;
        let rest = self.0.get(start..)?;
        let (mut end, mut escaped) = (0, false);
        for byte in rest {
            let bracket = matches!(byte, b'(' | b')' | b'{' | b'}');
            if !escaped && (is_space(byte) || bracket) {
                end += usize::from(end == 0);
                break;
            }
            escaped = !escaped && *byte == b'\\';
            end += 1;
        }
        let (word, after) = rest.split_at_checked(end)?;
        self.0 = after;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bracket structure of a rule, shortened: `select id, upper(a) from t order by b`.
    const RULE: &str = "({QUERY :commandType 1 :rtable ({RANGETBLENTRY :alias {ALIAS :aliasname :relid :colnames \
        (\"a\\ b\" \"\\(\")} :rtekind 0 :relid 16385 :relkind r}) :targetList ({TARGETENTRY :expr {VAR :varno 1} \
        :resno 1 :resname :resorigtbl :ressortgroupref 0 :resorigtbl 16385 :resorigcol 1 :resjunk false} \
        {TARGETENTRY :expr {FUNCEXPR :funcid 871 :args ({VAR :varno 1})} :resno 2 :resname up\\ per \
        :ressortgroupref 0 :resorigtbl 0 :resorigcol 0 :resjunk false} {TARGETENTRY :expr {VAR :varno 1} :resno 3 \
        :resname <> :ressortgroupref 1 :resorigtbl 16385 :resorigcol 3 :resjunk true}) :sortClause ({SORTGROUPCLAUSE \
        :eqop 98 :sortop 664})})";

    #[test]
    fn origins_relations_and_calls_are_found() {
        let rule = read(&RULE.replace(":aliasname :relid", ":aliasname x")).unwrap();
        assert_eq!(rule.origins, [(1, (16385, 1))]);
        assert_eq!((rule.relations, rule.functions, rule.operators), (vec![16385], vec![871], vec![98, 664]));
    }

    #[test]
    fn a_name_that_looks_like_a_label_never_adds_an_origin() {
        assert_eq!(read(RULE), None);
        let named = RULE.replace(":aliasname :relid", ":aliasname x").replace("up\\ per", ":resorigtbl");
        assert_eq!(read(&named).unwrap().origins, [(1, (16385, 1))]);
    }

    #[test]
    fn what_is_not_understood_has_no_facts() {
        for wrong in ["", "<>", "({QUERY", "({QUERY :commandType 1})", ")", "({QUERY :targetList ({OTHER :resno 1})})"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
