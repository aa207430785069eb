/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the conversation (proto/vmm.proto): takes requests from the control socket,
 * carries them out on the machine, and sends replies and events. Ends the loop when the socket
 * closes or the host says Shutdown.
 */
#ifndef THAW_VMM_CONTROL_H
#define THAW_VMM_CONTROL_H

struct thaw_control;
struct thaw_error;
struct thaw_loop;

int thaw_control_create(struct thaw_control **control, int socket, struct thaw_loop *loop,
			struct thaw_error *err);
/* Destroys the machine too. */
void thaw_control_destroy(struct thaw_control *control);

#endif
