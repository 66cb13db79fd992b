//! Labels' values that are somebody's text: names of users, targets and policies. `prometheus-client` writes
//! values as they are, and a quotation mark in a name would end its value.

use std::{fmt::Write as _, sync::Arc};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Somebody's text. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Text(Arc<str>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl EncodeLabelValue for Text {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/#escaping>
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            let special = part.chars().next_back().filter(|last| matches!(last, '\\' | '"' | '\n'));
            let Some(special) = special else { return encoder.write_str(part) };
            encoder.write_str(part.strip_suffix(special).unwrap_or_default())?;
            encoder.write_str(match special {
                '\n' => "\\n",
                '"' => "\\\"",
                _ => "\\\\",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

    use super::*;

    #[test]
    fn a_name_cannot_end_its_value() {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("who", "Who", Info::new([("user", Text::from("o\"brien\\\nx=\"1\"} 7"))]));
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("who_info{user=\"o\\\"brien\\\\\\nx=\\\"1\\\"} 7\"} 1\n"), "{text}");
    }
}
