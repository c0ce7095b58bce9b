//! Gateway and key server: what they say to each other, and what each makes of it.

pub mod policy;
