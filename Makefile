# Ringlet. `make help` lists the targets.

SHELL := /bin/sh
B := build
VERSION := 0.1
CC := gcc
CLANG := clang
PYTHON := python3
.DEFAULT_GOAL := kernel
.DELETE_ON_ERROR:

NEWLIB := $(B)/deps/newlib
LWIP := $(B)/deps/lwip
DEPS_STAMP := $(B)/deps/stamp

# --- kernel --------------------------------------------------------------------------------------

RING0_SRC := boot/pvh.c boot/memory.c boot/start.c boot/paging.c boot/trap.c
ASM_SRC := boot/entry.S net/status_page.S
DRIVER_SRC := $(sort $(wildcard drivers/*.c))
LIB_SRC := $(sort $(wildcard lib/*.c))
NET_SRC := $(sort $(wildcard net/*.c))
LWIP_SRC := $(addprefix $(LWIP)/src/,$(shell sed 's/\#.*//' net/lwip_files.txt))

OBJ := $(patsubst %,$(B)/%.o,$(basename $(ASM_SRC) $(RING0_SRC) boot/main.c boot/config_sources.c \
       $(DRIVER_SRC) $(LIB_SRC) $(NET_SRC))) $(patsubst $(B)/%.c,$(B)/%.o,$(LWIP_SRC))

# The compiler is absent until `make deps` has run.
GCC_INCLUDE = $(shell $(CC) -print-file-name=include 2>/dev/null)
GCC_LIB = $(shell $(CC) -print-libgcc-file-name 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wvla
CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fbuiltin -fno-stack-protector -fno-pic -fno-pie -fcf-protection=none \
	-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections \
	-fno-common -fno-strict-aliasing -MMD -MP
CPPFLAGS = -nostdinc -isystem $(GCC_INCLUDE) -isystem $(NEWLIB)/include -I. \
	-DRINGLET_VERSION='"$(VERSION)"'
# newlib's integer-only formatter is a quarter of the size; no format of ours has a float.
PRINTF := -Dsnprintf=sniprintf -Dvsnprintf=vsniprintf
RING0_CFLAGS := -mgeneral-regs-only -mno-red-zone -fno-builtin -fno-tree-loop-distribute-patterns
NET_CPPFLAGS := -Inet -I$(LWIP)/src/include
# lwIP's assertions name their file: by a name that is the same wherever $(B) is.
LWIP_NAMES := -fmacro-prefix-map=$(LWIP)=lwip

kernel: $(B)/ringlet.elf ## build/ringlet.elf, what -kernel boots (default)

$(B)/ringlet.elf: $(B)/ringlet.debug.elf
	@objcopy --strip-debug $< $@
	@sh tests/check_image.sh $< $@

$(B)/ringlet.debug.elf: $(OBJ) $(NEWLIB)/lib/libc.a linker/pvh.ld
	@$(CC) -nostdlib -static -no-pie -Wl,--gc-sections -Wl,--wrap=ip6_frag -Wl,--build-id=none \
	    -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments -Wl,-T,linker/pvh.ld \
	    -Wl,-Map,$(B)/ringlet.map -o $@ $(OBJ) $(NEWLIB)/lib/libc.a $(GCC_LIB)
	@echo "  LD      $@"

define compile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CFLAGS) $(1) $(CPPFLAGS) -c $< -o $@
endef

$(patsubst %.c,$(B)/%.o,$(RING0_SRC)): $(B)/%.o: %.c Makefile | $(DEPS_STAMP)
	$(call compile,$(WARN) $(RING0_CFLAGS))
$(B)/boot/%.o: boot/%.c Makefile | $(DEPS_STAMP)
	$(call compile,$(WARN) $(PRINTF) $(NET_CPPFLAGS))
$(B)/drivers/%.o: drivers/%.c Makefile | $(DEPS_STAMP)
	$(call compile,$(WARN) -Wconversion $(PRINTF))
$(B)/lib/%.o: lib/%.c Makefile | $(DEPS_STAMP)
	$(call compile,$(WARN) $(PRINTF))
$(B)/net/%.o: net/%.c Makefile | $(DEPS_STAMP)
	$(call compile,$(WARN) $(PRINTF) $(NET_CPPFLAGS))
$(B)/deps/lwip/%.o: $(B)/deps/lwip/%.c net/lwipopts.h net/arch/cc.h Makefile | $(DEPS_STAMP)
	$(call compile,-Wall -fno-delete-null-pointer-checks $(LWIP_NAMES) $(PRINTF) $(NET_CPPFLAGS))
# A peer can reach its assertions; net/arch/cc.h has the reason why they can go.
$(B)/deps/lwip/src/apps/lwiperf/lwiperf.o: CFLAGS += -DLWIP_NOASSERT
$(B)/%.o: %.S Makefile | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  AS      $<"
	@$(CC) -I. -MMD -MP -c $< -o $@
$(B)/net/status_page.o: net/status.html

-include $(OBJ:.o=.d)

# --- UEFI application ----------------------------------------------------------------------------

# A position-independent program made with GNU-EFI, which holds the kernel's file. It lies wherever firmware
# puts it (-fpic), and firmware takes interrupts on its stack (-mno-red-zone).
UEFI_SRC := boot/uefi_enter.S boot/uefi_jump.c boot/uefi.c boot/config_sources.c boot/load_options.c boot/memory.c \
	drivers/acpi.c drivers/clock.c drivers/fw_cfg.c lib/config.c lib/config_keys.c lib/log.c \
	lib/newlib_stubs.c lib/smbios.c
UEFI_OBJ := $(patsubst %,$(B)/uefi/%.o,$(basename $(UEFI_SRC)))
UEFI_CFLAGS := $(filter-out -fno-pic -fno-pie,$(CFLAGS)) -fpic -fvisibility=hidden -fshort-wchar \
	-mno-red-zone -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI -isystem /usr/include/efi \
	-isystem /usr/include/efi/x86_64
UEFI_SECTIONS := .text .sdata .data .rodata .dynamic .dynsym .rel .rela .rel.* .rela.* .reloc

# $(call uefi_link,OBJECTS) links them, and makes a PE file of that.
define uefi_link
@ld -nostdlib -pie --no-dynamic-linker --gc-sections -z nocombreloc -z noexecstack -z text \
    -T linker/uefi.ld -o $@.so /usr/lib/crt0-efi-x86_64.o $(1) -L/usr/lib -lgnuefi -lefi \
    $(NEWLIB)/lib/libc.a $(GCC_LIB)
@objcopy $(patsubst %,-j '%',$(UEFI_SECTIONS)) --target efi-app-x86_64 --subsystem=10 $@.so $@
@echo "  LD      $@"
endef

uefi: $(B)/BOOTX64.EFI ## build/BOOTX64.EFI, the same kernel as a UEFI application
$(B)/BOOTX64.EFI: $(UEFI_OBJ) $(NEWLIB)/lib/libc.a linker/uefi.ld
	$(call uefi_link,$(UEFI_OBJ))
# Applications that the end-to-end tests need beside it.
UEFI_TESTS := $(B)/uefi/occupy.efi $(B)/uefi/stale.efi
$(UEFI_TESTS): $(B)/uefi/%.efi: $(B)/uefi/tests/e2e/uefi_%.o linker/uefi.ld
	$(call uefi_link,$<)

$(B)/uefi/%.o: %.c Makefile | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC      $< (uefi)"
	@$(CC) $(UEFI_CFLAGS) $(WARN) $(PRINTF) $(CPPFLAGS) -c $< -o $@
$(B)/uefi/boot/uefi_enter.o: boot/uefi_enter.S boot/uefi_jump.h $(B)/ringlet.elf Makefile
	@mkdir -p $(@D)
	@echo "  AS      $<"
	@$(CC) -I. -DKERNEL='"$(B)/ringlet.elf"' -c $< -o $@

-include $(UEFI_OBJ:.o=.d)

# --- disk images ---------------------------------------------------------------------------------

# Made anew each time, in a second: what they depend on includes the commit's time and CONFIG.
image: $(B)/BOOTX64.EFI image-deps ## build/ringlet.img, .iso and .qcow2, which boot by UEFI; CONFIG=FILE goes in as ringlet.cfg
	@tools/make-image --loader $< --output $(B) $(if $(CONFIG),--config $(CONFIG))

# --- dependencies --------------------------------------------------------------------------------

deps: ## Install packages, fetch and build lwIP and newlib
	@tools/deps test && touch $(DEPS_STAMP)

$(DEPS_STAMP): tools/deps tools/deps.txt
	@tools/deps build
	@mkdir -p $(@D) && touch $@
$(LWIP_SRC) $(NEWLIB)/lib/libc.a: | $(DEPS_STAMP)

# --- unit tests ----------------------------------------------------------------------------------

# The ring, driver and library code, compiled for the host unchanged: only whole headers of the seams
# are replaced (assert, device registers; for some tests ring memory, SEAMS_test_...), and for virtio-net
# what drivers/irq.h promises.
SEAMS_base := -DASSERT_HEADER='"tests/unit/seam_assert.h"' -DMMIO_HEADER='"tests/unit/seam_mmio.h"' \
	-DIO_HEADER='"tests/unit/seam_io.h"'
SEAMS_ring := $(SEAMS_base) -DRING_MEM_HEADER='"tests/unit/seam_ring_mem.h"'
SEAMS_step := $(SEAMS_base) -DRING_MEM_HEADER='"tests/unit/seam_ring_step.h"'
MODEL_VQ := tests/model/vq_device.c tests/model/vq_device_buffer.c tests/model/vq_device_split.c \
	tests/model/vq_device_packed.c

vq_rig := tests/unit/vq_rig.c tests/unit/vq_rig_run.c $(MODEL_VQ) drivers/vq.c
pci_rig := tests/model/pci_bus.c tests/model/pci_msix.c drivers/pci.c \
	drivers/pci_assign.c lib/log.c
irq_rig := $(pci_rig) tests/model/apic.c drivers/irq.c drivers/lapic.c drivers/msix.c lib/wait.c
virtio_rig := $(pci_rig) $(wildcard tests/model/virtio_device*.c) $(MODEL_VQ) drivers/virtio_dev.c \
	drivers/virtio_pci.c drivers/virtio_mmio.c drivers/virtio_features.c drivers/vq.c
net_rig := $(virtio_rig) drivers/virtio_net.c $(wildcard drivers/net_*.c) drivers/virtio_mmio_find.c \
	drivers/acpi.c drivers/acpi_mmio.c drivers/msix.c drivers/lapic.c tests/model/apic.c \
	tests/unit/seam_irq.c lib/wait.c lib/config.c lib/config_keys.c lib/dma.c lib/json.c lib/mac.c \
	lib/pktbuf.c
UNIT_test_vq := $(vq_rig)
UNIT_test_vq_random := $(vq_rig)
UNIT_test_vq_in_order := $(vq_rig)
UNIT_test_vq_indirect := $(vq_rig)
UNIT_test_vq_event := $(vq_rig)
UNIT_test_vq_notify := $(vq_rig)
UNIT_test_vq_faults := $(vq_rig)
UNIT_test_vq_calls := $(vq_rig)
SEAMS_test_vq_order := ring
UNIT_test_vq_order := tests/unit/seam_ring_mem.c drivers/vq.c
SEAMS_test_vq_order_packed := ring
UNIT_test_vq_order_packed := tests/unit/seam_ring_mem.c drivers/vq.c
UNIT_test_vq_device := $(MODEL_VQ)
UNIT_test_vq_device_rules := $(MODEL_VQ)
UNIT_test_vq_device_packed := $(MODEL_VQ)
UNIT_test_config := lib/config.c lib/config_keys.c
UNIT_test_config_idle := lib/config.c lib/config_keys.c
UNIT_test_load_options := boot/load_options.c
UNIT_test_memory := boot/memory.c
UNIT_test_json := lib/json.c lib/log.c
UNIT_test_pktbuf := lib/pktbuf.c lib/dma.c
UNIT_test_histogram := lib/histogram.c
UNIT_test_pattern := lib/pattern.c
UNIT_test_mac := lib/mac.c
UNIT_test_fw_cfg := tests/model/fw_cfg.c drivers/fw_cfg.c
UNIT_test_smbios := lib/smbios.c
UNIT_test_config_sources := tests/model/fw_cfg.c drivers/fw_cfg.c drivers/acpi.c lib/smbios.c lib/log.c \
	boot/config_sources.c
UNIT_test_fwd := net/fwd.c
UNIT_test_fwd_echo := net/fwd.c
UNIT_test_csum_offload := net/csum_offload.c net/checksum.c net/l4.c
UNIT_test_tcp_option :=
UNIT_test_tx_join := net/tx_join.c net/csum_offload.c net/checksum.c net/l4.c
gen_rig := net/gen_text.c net/gen_rate.c net/gen_spec.c net/stamp.c lib/mac.c lib/log.c \
	lib/config.c lib/config_keys.c
UNIT_test_stamp := net/stamp.c
UNIT_test_gen_spec := $(gen_rig)
UNIT_test_gen_stream := $(gen_rig) net/gen_stream.c
UNIT_test_gen_flows := $(gen_rig) net/gen_stream.c
UNIT_test_gen_pace := net/gen_pace.c lib/histogram.c
sink_rig := tests/unit/sink_rig.c net/sink.c net/sink_check.c net/sink_flows.c net/stamp.c \
	net/checksum.c lib/dma.c lib/histogram.c lib/log.c
UNIT_test_sink := $(sink_rig)
UNIT_test_sink_report := $(sink_rig) net/sink_report.c lib/histogram_json.c lib/json.c
UNIT_test_latency := net/latency.c lib/histogram.c lib/histogram_json.c lib/json.c lib/log.c
UNIT_test_sink_check := $(sink_rig)
UNIT_test_sink_flows := net/sink_flows.c lib/dma.c lib/log.c
UNIT_test_csum_offload_rx := net/csum_offload.c net/checksum.c net/datagrams.c net/l4.c
UNIT_test_acpi := drivers/acpi.c lib/log.c
UNIT_test_power := drivers/power.c lib/json.c lib/log.c lib/wait.c
UNIT_test_pvpanic := $(pci_rig) drivers/pvpanic.c
UNIT_test_power_button := drivers/power_button.c lib/log.c
UNIT_test_pci := $(pci_rig)
UNIT_test_pci_bars := $(pci_rig)
UNIT_test_irq := $(irq_rig)
UNIT_test_msix := $(irq_rig)
UNIT_test_virtio_caps := $(virtio_rig)
UNIT_test_virtio_pci := $(virtio_rig)
UNIT_test_virtio_device := $(virtio_rig)
UNIT_test_virtio_device_gso := $(virtio_rig)
UNIT_test_virtio_net := $(net_rig)
UNIT_test_net_burst := $(net_rig)
UNIT_test_net_tx_burst := $(net_rig)
UNIT_test_net_features := $(net_rig)
UNIT_test_net_ctrl := $(net_rig)
UNIT_test_net_gso := $(net_rig)
UNIT_test_net_offloads := $(net_rig)
UNIT_test_net_irq := $(net_rig)
UNIT_test_net_random := $(net_rig)
SEAMS_test_net_mrg := step
UNIT_test_net_mrg := $(net_rig) tests/unit/seam_ring_step.c
SEAMS_test_net_arm := step
UNIT_test_net_arm := $(net_rig) tests/unit/seam_ring_step.c
UNIT_test_net_ctrl_answers := $(net_rig)
UNIT_test_net_restart := $(net_rig)
UNIT_test_net_changes := $(net_rig)
UNIT_test_net_lies := $(net_rig)
UNIT_test_net_mmio := $(net_rig)
UNIT_test_virtio_mmio_find := drivers/virtio_mmio_find.c drivers/acpi.c drivers/acpi_mmio.c lib/log.c
UNIT_test_net_recover := $(net_rig)
UNIT_TESTS := $(patsubst UNIT_%,%,$(filter UNIT_test_%,$(.VARIABLES)))

UNIT_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -g -O1 -fsanitize=address,undefined \
	-fno-sanitize-recover=all -I.

unit: $(foreach t,$(UNIT_TESTS),$(B)/unit/$(t).gcc.ok $(B)/unit/$(t).clang.ok) ## Hosted unit tests, gcc and clang, ASan and UBSan

# Objects are shared by all tests with the same compiler and seams.
unit_seams = $(or $(SEAMS_$(1)),base)
unit_objects = $(patsubst %.c,$(B)/unit/$(2)/$(unit_seams)/%.o,tests/unit/$(1).c $(UNIT_$(1)))

define unit_object_rule
$(B)/unit/$(1)/$(3)/%.o: %.c Makefile | test-deps
	@mkdir -p $$(@D)
	@echo "  CC      $$< ($(1), $(3))"
	@$(2) $$(UNIT_CFLAGS) $$(SEAMS_$(3)) -MMD -MP -c $$< -o $$@
endef
$(foreach s,base ring step,$(eval $(call unit_object_rule,gcc,$(CC),$(s)))\
	$(eval $(call unit_object_rule,clang,$(CLANG),$(s))))

define unit_rule
$(B)/unit/$(1).$(2).ok: $(call unit_objects,$(1),$(2))
	@echo "  UNIT    $(1) ($(2))"
	@$(3) $$(UNIT_CFLAGS) $$^ -o $(B)/unit/$(1).$(2) -lcmocka -lm
	@$(B)/unit/$(1).$(2) > $(B)/unit/$(1).$(2).log 2>&1 || { cat $(B)/unit/$(1).$(2).log; exit 1; }
	@tail -n 1 $(B)/unit/$(1).$(2).log
	@touch $$@
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_rule,$(t),gcc,$(CC)))$(eval $(call unit_rule,$(t),clang,$(CLANG))))

-include $(foreach t,$(UNIT_TESTS),$(patsubst %.o,%.d,$(call unit_objects,$(t),gcc) $(call unit_objects,$(t),clang)))

# --- boots ---------------------------------------------------------------------------------------

# Passed on to tools/run-guest when given.
export ACCEL MACHINE FIRMWARE RING MODE ARGS MEM NET APP NICS

run: kernel run-deps ## Boot it and talk to it: APP= NET=user|tap ACCEL= MACHINE= RING= MODE= MEM= ARGS=
	@tools/run-guest --image $(B)/ringlet.elf

# The load generators run on the host. Their histogram is wrong by 0.8 % at most.
LOAD_SRC := tests/e2e/load_tool.c lib/histogram.c
UDP_LOAD_SRC := tests/e2e/udp_load.c lib/pattern.c $(LOAD_SRC)
TCP_LOAD_SRC := tests/e2e/tcp_load.c tests/e2e/tcp_load_stream.c tests/e2e/tcp_load_http.c lib/pattern.c $(LOAD_SRC)
LOAD_HEADERS := tests/e2e/load_tool.h lib/histogram.h lib/pattern.h lib/util.h
LOAD_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -Wconversion -I. -DASSERT_HEADER='<assert.h>' \
	-DASSERT=assert -DHISTOGRAM_SUB_BITS=6
$(B)/udp_load: $(UDP_LOAD_SRC) $(LOAD_HEADERS) Makefile | test-deps
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) $(LOAD_CFLAGS) $(UDP_LOAD_SRC) -o $@
$(B)/tcp_load: $(TCP_LOAD_SRC) tests/e2e/tcp_load.h $(LOAD_HEADERS) Makefile | test-deps
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@$(CC) $(LOAD_CFLAGS) $(TCP_LOAD_SRC) -o $@

$(B)/relay: tests/e2e/relay.c lib/util.h Makefile | test-deps
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -Wconversion -I. $< -o $@

$(B)/core_trip: tests/e2e/core_trip.c Makefile | test-deps
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -Wconversion -pthread $< -o $@

e2e: kernel uefi $(UEFI_TESTS) $(B)/udp_load $(B)/tcp_load $(B)/relay test-deps ## Boot the image in QEMU against real peers; T=PATTERN chooses tests
	@$(PYTHON) tests/e2e/run $(if $(T),-k $(T))

test: check unit e2e ## Everything that CI runs

check: tests/check_includes.sh ## Layers, and the names and counts in docs/conformance.md
	@sh tests/check_includes.sh
	@$(PYTHON) tests/check_conformance.py

bench-boot: kernel test-deps ## Measure boot time and ring-0 instructions (reported, not asserted)
	@$(PYTHON) tests/e2e/bench_boot.py

bench-notify: kernel $(B)/udp_load test-deps ## Measure what poll, irq and adaptive mode cost (12 minutes; needs root)
	@$(PYTHON) tests/e2e/bench_notify.py

# The only program of the Linux guest.
$(B)/linux_init: tests/e2e/linux_init.c net/status.html Makefile | bench-deps
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -I. -static $< -o $@

bench-echo: kernel $(B)/udp_load $(B)/tcp_load $(B)/linux_init bench-deps ## Measure the echo workload against a Linux guest (20 minutes; needs root)
	@$(PYTHON) tests/e2e/bench_echo.py

bench: kernel $(B)/core_trip test-deps ## Measure Ringlet against DPDK's virtio driver (half an hour; needs root)
	@$(PYTHON) tests/e2e/bench_dpdk.py

size: kernel ## Size of the kernel by component
	@$(PYTHON) tools/image-size $(B)/ringlet.debug.elf $(B)/ringlet.map

run-deps:
	@tools/deps run
image-deps:
	@tools/deps image
test-deps:
	@tools/deps test
bench-deps:
	@tools/deps bench

clean: ## Remove what was built, but not the dependencies
	@find $(B) -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: kernel uefi image deps unit run e2e test check bench bench-boot bench-echo bench-notify size clean help \
	image-deps run-deps test-deps bench-deps
