/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel whose first fault finds no interrupt table, and so is its last. */
	.globl _start
	.text
_start:
	lidt empty(%rip)
	xorl %eax, %eax
	decq %rax
	shlq $63, %rax
	movq (%rax), %rax
1:	hlt
	jmp 1b

empty:
	.word 0
	.quad 0
