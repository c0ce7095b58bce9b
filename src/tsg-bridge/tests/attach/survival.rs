//! What stays when rules are taken away or the daemon is killed.
