// Api prints what Go packages export, a line each: api DIRECTORY... It reads the sources alone, so that what they need is not needed here.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"log"
	"os"
	"strings"
)

func text(e ast.Expr) string { return types.ExprString(e) }

// of prints a type that is declared.
func of(name string, e ast.Expr) {
	var list *ast.FieldList
	switch t := e.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		fmt.Println(name, text(e))
		return
	}
	fmt.Println(name)
	for _, f := range list.List {
		for _, n := range f.Names {
			if n.IsExported() {
				fmt.Println(name+"."+n.Name, text(f.Type))
			}
		}
	}
}

func function(pkg string, d *ast.FuncDecl) {
	if d.Recv != nil {
		recv := strings.TrimPrefix(text(d.Recv.List[0].Type), "*")
		if !ast.IsExported(recv) {
			return
		}
		pkg += recv + "."
	}
	fmt.Println(pkg+d.Name.Name, text(d.Type))
}

func declared(pkg string, d *ast.GenDecl) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				of(pkg+s.Name.Name, s.Type)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() {
					fmt.Println(pkg+n.Name, d.Tok)
				}
			}
		}
	}
}

func main() {
	for _, dir := range os.Args[1:] {
		isSource := func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }
		packages, err := parser.ParseDir(token.NewFileSet(), dir, isSource, 0)
		if err != nil {
			log.Fatal(err)
		}
		for name, p := range packages {
			for _, f := range p.Files {
				for _, d := range f.Decls {
					switch d := d.(type) {
					case *ast.GenDecl:
						declared("go "+name+".", d)
					case *ast.FuncDecl:
						if d.Name.IsExported() {
							function("go "+name+".", d)
						}
					}
				}
			}
		}
	}
}
