# A thin front for meson: every target a newcomer needs, by the names the README gives.
BUILD ?= build
NINJA = ninja -C $(BUILD)

.PHONY: all setup fmt clean
all: $(BUILD)/build.ninja
	@$(NINJA)

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

clean:
	rm -rf build build-*
