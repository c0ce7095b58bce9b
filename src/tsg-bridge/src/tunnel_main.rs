//! `tsg-tunnel`: tunnels without the gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    tsg_bridge::cli::tunnel_main()
}
