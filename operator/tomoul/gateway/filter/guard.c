// What keeps a bug in the module from taking the gateway down: a Zig panic jumps back here instead of ending the
// process. Between the two there are frames of the module only, which have nothing to unwind; memory that they held is
// lost unless it is the call's.

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>

static _Thread_local jmp_buf *innermost;

// Runs work(context); false if it panicked. May nest, since Envoy calls hooks from within functions that hooks call.
bool tomoul_guarded(void (*work)(void *), void *context) {
  jmp_buf here;
  jmp_buf *const outer = innermost;
  if (_setjmp(here) != 0) {
    innermost = outer;
    return false;
  }
  innermost = &here;
  work(context);
  innermost = outer;
  return true;
}

// Back to the innermost guard.
_Noreturn void tomoul_leave(void) {
  if (innermost == NULL) abort();
  _longjmp(*innermost, 1);
}
