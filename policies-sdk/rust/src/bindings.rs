//! What `wit-bindgen` generates from `wit/policy.wit`: the contract's types, the calls into the host
//! and the exports of a policy. Nothing here is written by hand.
#![allow(unsafe_code, reason = "the generated code passes memory over the WebAssembly boundary")]
#![allow(missing_docs, reason = "the contract documents what it has to say, and the rest names itself")]
#![allow(dead_code, unused_imports, reason = "a native build uses the types and not the calls")]
#![allow(clippy::all, clippy::restriction, clippy::pedantic, reason = "generated code")]

wit_bindgen::generate!({
    world: "policy",
    path: "../../wit",
    bitflags_path: "bitflags",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    additional_derives: [PartialEq, Eq],
    // How the contract's types are written in fixtures; names and flags are in json.rs.
    additional_type_attributes: {
        "sluicegate:policy/types@0.1.0/mask": [#[derive(serde::Deserialize)] #[serde(rename_all = "kebab-case")]],
        "sluicegate:policy/types@0.1.0/date-unit": [#[derive(serde::Deserialize)] #[serde(rename_all = "kebab-case")]],
        "sluicegate:policy/results@0.1.0/resolution": [#[derive(serde::Deserialize)] #[serde(rename_all = "kebab-case")]],
        "sluicegate:policy/results@0.1.0/column": [#[derive(serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "sluicegate:policy/sessions@0.1.0/identity-kind": [#[derive(serde::Deserialize)] #[serde(rename_all = "lowercase")]],
        "sluicegate:policy/sql@0.1.0/relation": [#[derive(serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "sluicegate:policy/sql@0.1.0/column-use": [#[derive(serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "sluicegate:policy/sql@0.1.0/function-use": [#[derive(serde::Deserialize)] #[serde(deny_unknown_fields)]],
    },
    additional_member_attributes: {
        "sluicegate:policy/results@0.1.0/column.type-name": [#[serde(rename = "type", default = "crate::json::text")]],
        "sluicegate:policy/results@0.1.0/column.sources": [#[serde(default)]],
        "sluicegate:policy/sql@0.1.0/relation.known": [#[serde(default = "crate::json::yes")]],
        "sluicegate:policy/sql@0.1.0/relation.indirect": [#[serde(default)]],
        "sluicegate:policy/sql@0.1.0/function-use.schema": [#[serde(default)]],
        "sluicegate:policy/sql@0.1.0/function-use.builtin": [#[serde(default)]],
    },
});
