/* The UEFI loader's last steps, and the kernel that it holds.
 *
 * The kernel is entered as a PVH loader would enter it, in 32-bit mode without paging. So it does not
 * matter what firmware's page tables are, nor whether they lie where the kernel goes. */
#include "boot/uefi_jump.h"

#define CR0_PG 31
#define CR4_PCIDE 17

/* Runs as a copy in struct uefi_jump; rdi = that structure. Uses the loader's stack before it copies only. */
        .section .text, "ax", @progbits
        .globl uefi_jump_start, uefi_jump_end
        .hidden uefi_jump_start, uefi_jump_end
uefi_jump_start:
        cli
        cld
        movl    %edi, %ebx
        lgdt    UEFI_JUMP_GDT_POINTER(%rdi)
        movq    %cr4, %rax
        btrq    $CR4_PCIDE, %rax        /* must be off before paging is (Intel SDM volume 3, 4.10.1) */
        movq    %rax, %cr4
        leaq    1f(%rip), %rax
        pushq   $8
        pushq   %rax
        lretq

        .code32
1:      movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
        movl    %cr0, %eax
        btrl    $CR0_PG, %eax           /* ends long mode */
        movl    %eax, %cr0

        leal    UEFI_JUMP_COPIES(%ebx), %ebp
        movl    UEFI_JUMP_COPY_COUNT(%ebx), %edx
        xorl    %eax, %eax
2:      movl    (%ebp), %esi
        movl    4(%ebp), %edi
        movl    8(%ebp), %ecx
        rep movsb
        movl    12(%ebp), %ecx
        rep stosb
        addl    $UEFI_JUMP_COPY_SIZE, %ebp
        decl    %edx
        jnz     2b

        movl    UEFI_JUMP_INFO(%ebx), %esi
        jmp     *UEFI_JUMP_ENTRY(%ebx)
uefi_jump_end:

        .section .rodata, "a", @progbits
        .globl uefi_kernel, uefi_kernel_end
        .hidden uefi_kernel, uefi_kernel_end
        .balign 16
uefi_kernel:
        .incbin KERNEL
uefi_kernel_end:
        .section .note.GNU-stack, "", @progbits
