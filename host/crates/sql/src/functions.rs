//! What is known about the server's own functions: those that are syntax, and those that do more than
//! compute from their arguments.

/// Expressions that look like functions and are not in `pg_proc`; they cannot be redefined
/// (manual, sections 9.10, 9.15, 9.18, 9.26).
const SYNTAX: &[&str] = &[
    "array",
    "coalesce",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "greatest",
    "grouping",
    "least",
    "localtime",
    "localtimestamp",
    "nullif",
    "row",
    "session_user",
    "user",
    "xmlconcat",
    "xmlelement",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
];

/// Functions that run SQL given as text, read data that no argument holds (server files, large objects,
/// other sessions' statements, the write-ahead log), or read it where no relation is named.
const INDIRECT: &[&str] = &[
    "binary_upgrade_",
    "cursor_to_xml",
    "database_to_xml",
    "lo_",
    "loread",
    "pg_create_logical_replication_slot",
    "pg_current_logfile",
    "pg_get_backend_memory_contexts",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_logical_slot_",
    "pg_ls_",
    "pg_mcv_list_items",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_replication_origin_",
    "pg_show_all_file_settings",
    "pg_stat_file",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_get_subscription",
    "pg_stat_get_wal_receiver",
    "query_to_xml",
    "schema_to_xml",
    "table_to_xml",
    "ts_rewrite",
    "ts_stat",
];

/// Functions that run SQL given as text, or all that a name in their arguments stands for: whatever it does is
/// not in sight (manual, sections 9.13 and 9.15.3).
const RUN_SQL: &[&str] = &[
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
];

/// Functions that put their arguments where a later command can read them without naming a column.
const CARRIERS: &[&str] = &[
    "lo_creat",
    "lo_create",
    "lo_export",
    "lo_from_bytea",
    "lo_import",
    "lo_lseek",
    "lo_lseek64",
    "lo_put",
    "lo_truncate",
    "lo_truncate64",
    "lowrite",
    "pg_backup_start",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_logical_emit_message",
    "pg_notify",
    "pg_replication_origin_advance",
    "pg_replication_origin_create",
    "pg_start_backup",
    "set_config",
    "setseed",
];

/// Functions that keep a number where all can read it, and that are often given stored ones, such as the
/// largest key of a table. Their arguments count as what the client receives.
const KEEPERS: &[&str] = &[
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "setval",
];

/// Functions that act on the server or on other sessions (manual, section 9.27).
const ADMINISTRATIVE: &[&str] = &[
    "lo_export",
    "lo_import",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_cancel_backend",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_import_system_collations",
    "pg_log_backend_memory_contexts",
    "pg_promote",
    "pg_reload_conf",
    "pg_replication_slot_advance",
    "pg_rotate_logfile",
    "pg_start_backup",
    "pg_stat_reset",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_terminate_backend",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
];

/// Relations that hold values of other relations, or other sessions' statements: what was reached
/// through them cannot be told.
const MIRRORS: &[&str] = &[
    "pg_largeobject",
    "pg_stat_activity",
    "pg_stat_statements",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
];

/// Whether this unquoted, unqualified name is syntax and not a function.
pub fn is_syntax(name: &str) -> bool {
    SYNTAX.binary_search(&name).is_ok()
}

/// Whether the server's function of this name may give data that its arguments do not hold, or carry its
/// arguments to where no column names them. A view that calls one reads what cannot be told.
pub fn is_indirect(name: &str) -> bool {
    is_carrier(name) || is_keeper(name) || reads_elsewhere(name)
}

/// Whether the server's function of this name may give data that its arguments do not hold.
pub fn reads_elsewhere(name: &str) -> bool {
    INDIRECT.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the server's function of this name runs SQL that is not in sight.
pub fn runs_sql(name: &str) -> bool {
    RUN_SQL.binary_search(&name).is_ok()
}

/// Whether the server's function of this name keeps a number of its arguments outside relations.
pub fn is_keeper(name: &str) -> bool {
    KEEPERS.binary_search(&name).is_ok()
}

/// Whether the server's function of this name stores its arguments outside relations.
pub fn is_carrier(name: &str) -> bool {
    CARRIERS.binary_search(&name).is_ok()
}

/// Whether the server's function of this name acts on the server.
pub fn is_administrative(name: &str) -> bool {
    ADMINISTRATIVE.binary_search(&name).is_ok()
}

/// Whether the relation of this name mirrors others.
pub fn is_mirror(name: &str) -> bool {
    MIRRORS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_that_are_searched_are_sorted() {
        for list in [SYNTAX, RUN_SQL, CARRIERS, KEEPERS, ADMINISTRATIVE, MIRRORS] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
