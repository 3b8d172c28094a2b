/* The first instructions, the way into ring 3, and the way into the trap handler. */

#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CR0_PE_MP_ET_NE_WP_PG 0x80010033
#define CR4_PAE_OSFXSR_OSXMMEXCPT 0x620
#define EARLY_PAGES 8

/* PVH entry point: an ELF note of name "Xen", type 18 (XEN_ELFNOTE_PHYS32_ENTRY), with the physical
 * address as its value. */
        .section .note.pvh, "a", @note
        .align 4
        .long 4, 4, 18
        .asciz "Xen"
        .long pvh_entry

/* Both entry points: 32-bit protected mode, flat segments, paging off, interrupts off. */
        .section .text.ring0, "ax", @progbits
        .code32

/* The image's own entry point, for the UEFI loader; esi = its struct boot_info, anywhere below 4 GiB. */
        .globl uefi_entry
uefi_entry:
        cld
        movl    $boot_info, %edi
        movl    boot_info_size, %ecx
        rep movsb
        movl    $boot_start, %ebp       /* where 64-bit code begins */
        jmp     start

/* ebx = start info. */
        .globl pvh_entry
pvh_entry:
        cld
        movl    $pvh_main, %ebp
start:
        rdtsc
        movl    %eax, %edi              /* boot time, kept in esi:edi */
        movl    %edx, %esi

        /* A first map of the lowest 16 MiB, just to get into long mode. */
        movl    $early_pdpt + 3, early_pml4
        movl    $early_pd + 3, early_pdpt
        movl    $early_pd, %edx
        movl    $0x83, %eax             /* present, writable, 2 MiB */
        movl    $EARLY_PAGES, %ecx
1:      movl    %eax, (%edx)
        addl    $0x200000, %eax
        addl    $8, %edx
        decl    %ecx
        jnz     1b

        movl    $CR4_PAE_OSFXSR_OSXMMEXCPT, %eax
        movl    %eax, %cr4
        movl    $early_pml4, %eax
        movl    %eax, %cr3
        movl    $MSR_EFER, %ecx
        rdmsr
        orl     $EFER_LME_NXE, %eax
        wrmsr
        movl    $CR0_PE_MP_ET_NE_WP_PG, %eax
        movl    %eax, %cr0
        lgdt    early_gdt_pointer
        ljmp    $8, $1f

        .code64
1:      movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $ring0_stack_end, %esp
        shlq    $32, %rsi
        orq     %rsi, %rdi              /* first argument: time of the first instruction */
        movl    %ebx, %esi              /* second argument: start info */
        movl    %ebp, %eax
        xorl    %ebp, %ebp
        call    *%rax
        ud2

/* ring3_enter(entry, stack_top): leaves ring 0 for good. */
        .globl ring3_enter
ring3_enter:
        xorl    %eax, %eax
        movl    %eax, %ds
        movl    %eax, %es
        subq    $8, %rsi                /* as if entry had been called */
        pushq   $0x18 | 3
        pushq   %rsi
        pushq   $0x202                  /* interrupts on, I/O privilege 0 */
        pushq   $0x20 | 3
        pushq   %rdi
        xorl    %ebp, %ebp              /* ends the frame chain for backtraces */
        iretq

/* One stub of 16 bytes for each of the vectors up to WAIT_VECTOR_SPURIOUS. Those without an error
 * code push a 0 in its place. */
        .balign 16
        .globl trap_stubs
trap_stubs:
        .set    vector, 0
        .rept   96
        .balign 16
        .if     !((vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || \
                  (vector == 21) || (vector == 29) || (vector == 30))
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_common
        .set    vector, vector + 1
        .endr

/* The order of the pushes is struct trap_frame. */
trap_common:
        pushq   %rax
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %rbp
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        cld
        movq    %rsp, %rdi
        call    trap_handler
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rbp
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rbx
        popq    %rax
        addq    $16, %rsp               /* vector and error code */
        iretq

        .section .data.ring0, "aw", @progbits
        .balign 8
early_gdt:
        .quad   0
        .quad   0x00af9b000000ffff      /* code, 64 bit, ring 0 */
        .quad   0x00cf93000000ffff      /* data */
early_gdt_pointer:
        .word   early_gdt_pointer - early_gdt - 1
        .long   early_gdt

        .section .bss.ring0, "aw", @nobits
        .balign 4096
early_pml4:
        .skip   4096
early_pdpt:
        .skip   4096
early_pd:
        .skip   4096
        .section .note.GNU-stack, "", @progbits
