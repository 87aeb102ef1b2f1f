"""Kernels are compiled as a whole; their parts have no machine code, and no wrappers, of their own.

Numba optimises a function, emits its machine code and that of its wrappers, and does all this again
within each function that calls it. A part stays as it was written down for LLVM, until the kernel
around it is optimised.
"""

from llvmlite.binding import Linkage
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NoPythonSupportedFeatureValidation


class _KernelLibrary(JITCodeLibrary):
    """A kernel, whose parts no other kernel sees.

    Numba numbers functions anew in each process. So a part of a kernel that was compiled in another
    process may have the name of another part here, such as a tile of another shape, and code that
    is loaded takes the first of a name.
    """

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = Linkage.internal
        super()._optimize_final_module()


class _NoCode:
    """In place of the machine code of a library that has none."""

    def set_env(self, name, environment):
        """Nothing: an environment is for Python objects, which parts do not have."""


class _PartLibrary(JITCodeLibrary):
    """What Numba links into the kernels that call a part."""

    codegen = _NoCode()

    def get_pointer_to_function(self, name):
        return 0  # no Python function: nobody but a kernel calls a part

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


class _IntoLibrary(FunctionPass):
    """Has Numba put what it compiles into a library of one of these classes."""

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _IntoKernelLibrary(_IntoLibrary):
    _name = "softstep_into_kernel_library"
    library = _KernelLibrary


@register_pass(mutates_CFG=False, analysis_only=True)
class _IntoPartLibrary(_IntoLibrary):
    _name = "softstep_into_part_library"
    library = _PartLibrary


class KernelCompiler(CompilerBase):
    """Numba's compiler, for kernels."""

    into_library: type[_IntoLibrary] = _IntoKernelLibrary

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(self.into_library, NoPythonSupportedFeatureValidation)
        passes.finalize()
        return [passes]


class PartCompiler(KernelCompiler):
    """The same, as far as the code for LLVM."""

    into_library = _IntoPartLibrary


def ignore_literals(part):
    """Compile a part once for all numbers of a type, not again for each that is written down."""
    template_of = part.get_call_template

    def get_call_template(args, kws):
        named = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template_of(tuple(map(types.unliteral, args)), named)

    part.get_call_template = get_call_template
