# Each target calls one script. Set-up of a fresh Debian 12 is part of every target.

.PHONY: demo demo-tunnel test test-all fuzz bench bench-server lint cross cross-test package image clean

# Two gateways, a key server, real Modbus. STAY=1 leaves it running to look around.
demo:
	@STAY=$(STAY) tests/lab/demo

# Two hosts, a tunnel, and what may happen to it. STAY=1 as above.
demo-tunnel:
	@STAY=$(STAY) tests/lab/demo_tunnel

# All tests that run in minutes; ATTACKS=1: the lab's attacks and faults, and what is built for mips, as well.
test:
	@ATTACKS=$(ATTACKS) tests/run

# And those that take long: a virtual machine, armv7, sanitizers.
test-all:
	@tests/run all

# Every parser of bytes from outside, SECONDS for each target.
fuzz:
	@TSG_FUZZ_SANITIZER=address tests/fuzz/run $(or $(SECONDS),30)

# TSG beside a plain bridge and its peers. Takes 20 minutes.
bench:
	@tests/bench/run

# The key server under 100, 1,000 and 10,000 gateways. Takes 10 minutes.
bench-server:
	@tests/bench/server/run

# `tsg` for routers, one static program for each processor, in target/cross/. CPUS="mips armv7": only those.
cross:
	@cross/build $(CPUS)

# Those programs under qemu-user, with a real key server.
cross-test:
	@tests/cross/run $(CPUS)

# Packages for OpenWrt, in target/packages/, unpacked and looked at.
package:
	@tests/package/run $(CPUS)

# The key server's container, target/packages/tsg-server-image.tar, without docker and without a registry.
image:
	@package/tsg-server/image

lint:
	@tests/lint

clean:
	@cargo clean
