/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that stores an x87 register into a device: no KVM emulates that. */
	.globl _start
	.text
_start:
	movl $0xd0000000, %ebx
	fldz
	fistpll (%rbx)
1:	hlt
	jmp 1b
