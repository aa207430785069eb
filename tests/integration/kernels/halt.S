/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that has nothing to say and never will. */
	.globl _start
	.text
_start:
	cli
1:	hlt
	jmp 1b
