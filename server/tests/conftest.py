from tests.llm_server import llm, llm_server

__all__ = ["llm", "llm_server"]
