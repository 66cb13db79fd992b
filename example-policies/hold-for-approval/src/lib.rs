//! Has risky statements wait for a person.
