/*
 * Walks no stack. The programs for routers have no tables to do it by, so that Rust's library would find nothing anyway;
 * linked in front of libunwind, this keeps that out of them: 45 kB.
 */
#include <stdlib.h>

/* _URC_END_OF_STACK: not one frame. */
int _Unwind_Backtrace(void *see, void *of)
{
	return 5;
}

/* All else that Rust's library names: what is asked of a frame, and there is none. */
#define OF_A_FRAME(name) void *name(void *frame) { abort(); }
OF_A_FRAME(_Unwind_FindEnclosingFunction)
OF_A_FRAME(_Unwind_GetCFA)
OF_A_FRAME(_Unwind_GetDataRelBase)
OF_A_FRAME(_Unwind_GetIP)
OF_A_FRAME(_Unwind_GetIPInfo)
OF_A_FRAME(_Unwind_GetLanguageSpecificData)
OF_A_FRAME(_Unwind_GetRegionStart)
OF_A_FRAME(_Unwind_GetTextRelBase)
OF_A_FRAME(_Unwind_SetGR)
OF_A_FRAME(_Unwind_SetIP)
#ifdef __arm__
OF_A_FRAME(_Unwind_VRS_Get)
OF_A_FRAME(_Unwind_VRS_Set)
OF_A_FRAME(__gnu_unwind_frame)
OF_A_FRAME(__aeabi_unwind_cpp_pr0)
OF_A_FRAME(__aeabi_unwind_cpp_pr1)
#endif
