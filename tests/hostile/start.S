/* SPDX-License-Identifier: Apache-2.0 */
/* The first instructions of either processor. Memory is mapped one to one by thaw-vmm. */
	.section .text.start, "ax"
	.globl _start, second_start, second_end
	.code64
_start:
	leaq stack_end(%rip), %rsp
	movq %rsi, %rdi
	call guest_main
1:	cli
	hlt
	jmp 1b

/* Copied to 0x10000, where the second processor starts in real mode; to 64 bits in one step, with the
 * tables of the first (vmm/boot/boot.h: GDT at 0x500, page tables at 0x9000). */
	.code16
second_start:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl second_gdt - second_start
	movl $0x20, %eax
	movl %eax, %cr4
	movl $0x9000, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	movl $0x100, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x80000011, %eax
	movl %eax, %cr0
	ljmpl $0x10, $second_long
second_gdt:
	.word 31
	.long 0x500
second_end:

	.code64
second_long:
	movw $0x18, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	leaq second_stack_end(%rip), %rsp
	call second_main
1:	cli
	hlt
	jmp 1b

	.bss
	.balign 16
	.skip 16384
stack_end:
	.skip 16384
second_stack_end:

	.section .note.GNU-stack, "", @progbits
