//! Runs the fixtures that the policy ships.

use pii_mask::PiiMask;

#[test]
fn fixtures() {
    sluicegate_policy::testing::assert_fixtures::<PiiMask>(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
}
