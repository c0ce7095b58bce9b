//! Builds libzmq, if the feature `bundled` asks for it; if not, lets the system's find the tests' `operator delete`. Programs
//! have to do that themselves.
#![allow(clippy::print_stdout, reason = "so a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "bundled")]
    bundled::build();
    #[cfg(not(feature = "bundled"))]
    for name in ["_ZdlPv", "_ZdlPvm"] {
        println!("cargo:rustc-link-arg-tests=-Wl,--export-dynamic-symbol={name}");
    }
}

#[cfg(feature = "bundled")]
mod bundled {
    use std::env;

    /// CURVE takes the same libsodium that `tsg-sodium` has.
    pub(super) fn build() {
        let [lib, include] = ["DEP_SODIUM_LIB", "DEP_SODIUM_INCLUDE"].map(|name| {
            env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set: is libsodium built from source?"))
        });
        let sodium = zeromq_src::LibLocation::new(lib, include);
        zeromq_src::Build::new().with_libsodium(Some(sodium)).build();
    }
}
