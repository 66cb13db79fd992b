//! Labels' values that are somebody's text: names of users, targets and policies. `prometheus-client` escapes
//! what would end a value, which the test below holds it to.

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
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        encoder.write_str(&self.0)
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
