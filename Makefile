# camwarden: two commands do all the set-up, "make demo" and "make test". The rest is for those who change it.

GO        ?= go
LINTER    := bin/golangci-lint
LINTER_AT := v2.15.0
FUZZTIME  ?= 30s
RELEASER  := github.com/goreleaser/goreleaser/v2@v2.16.0

# Where make install puts things; DESTDIR stands before all of it.
PREFIX  ?= /usr/local
DESTDIR ?=

comma := ,

.DEFAULT_GOAL := help
.PHONY: help build install platforms packages packages-test release demo incident test test-long test-needs test-real promises lint generate bench soak fuzz clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

build: ## bin/camwarden and bin/camsim, linked as they are released
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/camwarden ./cmd/camsim

install: build ## binary, man pages, completions, units, examples below PREFIX (/usr/local), with DESTDIR before it
	install -D -m 0755 bin/camwarden "$(DESTDIR)$(PREFIX)/bin/camwarden"
	packaging/stage.sh "$(abspath $(or $(DESTDIR),/))" "$$(git describe --tags --always 2>/dev/null || echo 0)" "$(PREFIX)"

packages: ## deb, rpm, apk and tar.gz of this commit in dist, signed with nothing and sent nowhere
	@packaging/install.sh jq
	$(GO) run $(RELEASER) check
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GO) run $(RELEASER) release --snapshot --clean --skip=sign

packages-test: ## packages built twice, then installed, used, upgraded and removed in a throw-away Debian (as root)
	packaging/packages-test.sh

release: ## the release of a tag, in dist; checksums are signed where GPG_FINGERPRINT names a key
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GO) run $(RELEASER) release --clean --skip=publish$(if $(GPG_FINGERPRINT),,$(comma)sign)

platforms: ## camwarden for every platform that is promised, into nothing: does it compile
	@for arch in amd64 arm64 arm 386; do \
		echo "linux/$$arch"; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=7 $(GO) build -trimpath -o /dev/null ./cmd/camwarden || exit 1; \
	done

demo: ## a round over a simulated subnet, pictures in ./demo (installs ffmpeg if it is missing)
	@packaging/install.sh ffmpeg
	@$(MAKE) --no-print-directory build
	@packaging/demo.sh

incident: ## a leak of 25 ffmpegs at simulated cameras, seen by doctor and ended by reap (installs ffmpeg if it is missing)
	@packaging/install.sh ffmpeg
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/camwarden/testdata/camserver
	@packaging/incident.sh

test: test-needs ## the tests, with the race detector, and the slowest twenty of them (installs what they need)
	@packaging/test.sh

test-long: test-needs ## the same with the long cases: more cameras, more rounds, long waits
	@CAMWARDEN_LONG=1 packaging/test.sh

test-needs:
	@packaging/install.sh ffmpeg gcc libc6-dev python3-gi gir1.2-gst-rtsp-server-1.0 \
		gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly

test-real: ## the tests that have a go2rtc, with a real one too: make test-real GO2RTC=/path/to/go2rtc
	@test -x "$(GO2RTC)" || { echo "say where it is: make test-real GO2RTC=/path/to/go2rtc" >&2; exit 2; }
	GO2RTC=$(abspath $(GO2RTC)) $(GO) test -count=1 -timeout 30m -run 'Real|Relay|Scripts|Stream|Still|Picture|Viewer|Answer' ./pkg/go2rtc ./cmd/camwarden

lint: $(LINTER) ## golangci-lint, and shellcheck where it is installed
	CGO_ENABLED=0 $(LINTER) run ./...
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run packaging/*.sh; fi

# The version stands in the name of the stamp, so that a new one is fetched.
$(LINTER): bin/.golangci-lint-$(LINTER_AT)
bin/.golangci-lint-$(LINTER_AT):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_AT)
	@touch $@

promises: ## take the code of each promise out, in a clone: does a test see it
	@packaging/promises.sh

generate: ## man pages and completions, from the command tree
	$(GO) run ./cmd/camwarden generate .

bench: ## the figures of docs/benchmarks.md, and whether they keep what is promised
	CAMWARDEN_BENCH=$(CURDIR)/docs/benchmarks.md $(GO) test -count=1 -run '^TestBenchmarks$$' -timeout 60m -v ./cmd/camwarden

soak: ## the long tests: many rounds, many kills
	CAMWARDEN_SOAK=1 $(GO) test -count=1 -run Soak -timeout 75m -v ./...

fuzz: ## every fuzz test, FUZZTIME (30s) each
	@for pkg in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

clean: ## what make has built; not the pictures of the demo
	rm -rf bin dist
