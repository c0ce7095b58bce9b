# Each target calls one script. Set-up of a fresh Debian 12 is part of every target.

.PHONY: demo test lint clean

# Two gateways, a key server, real Modbus. STAY=1 leaves it running to look around.
demo:
	@STAY=$(STAY) tests/lab/demo

# All tests that run in minutes.
test:
	@tests/run

lint:
	@tests/lint

clean:
	@cargo clean
