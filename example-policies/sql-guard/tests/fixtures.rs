//! Runs the fixtures that the policy ships.

use sql_guard::SqlGuard;

#[test]
fn fixtures() {
    sluicegate_policy::testing::assert_fixtures::<SqlGuard>(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
}
